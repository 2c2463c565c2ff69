from jaxcv.models import regnet


def test_four_numbers_and_the_depth_say_all_widths():
    # y_400mf: 48 + 27.89 j, then 48 times a power of 2.09 (100.3, 209.7, 438.2), then 8 times one.
    plan = regnet.stage_plan(16, 48, 27.89, 2.09, 8)
    assert plan == [(1, 48, 8), (3, 104, 8), (6, 208, 8), (6, 440, 8)]


def test_a_width_that_its_groups_do_not_divide_gives_way():
    # x_32gf: 320, 640, 1280, 2560 become multiples of 168.
    plan = regnet.stage_plan(23, 320, 69.86, 2.0, 168)
    assert plan == [(2, 336, 168), (7, 672, 168), (13, 1344, 168), (1, 2520, 168)]
