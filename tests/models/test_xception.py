import flax.linen as nn

from jaxcv import layers, models
from jaxcv.models.xception import SeparableConv
from tests.models import counting

IMAGE = (1, 14, 14, 512)


def multiplications(module):
    rows = models.layer_rows(module, IMAGE)
    return [row.shape[1] * row.shape[2] * row.parameters for row in rows]


def test_a_separable_convolution_takes_about_a_ninth_of_the_multiplications():
    class Separable(nn.Module):
        @nn.compact
        def __call__(self, x):
            return SeparableConv(512, plain)(x)

    def plain(*arguments, **options):
        return layers.Conv(*arguments, **options, use_bias=False)

    class Ordinary(nn.Module):
        @nn.compact
        def __call__(self, x):
            return plain(512, 3, padding=1)(x)

    assert multiplications(Ordinary()) == [462_422_016]
    assert multiplications(Separable()) == [903_168, 51_380_224]


def test_all_but_the_first_two_and_the_shortcuts_convolutions_are_separable():
    rows = models.layer_rows(models.create("legacy_xception"), (1, 299, 299, 3))
    convolutions = [row.name for row in rows if row.kind == "Conv"]
    pairs = [name.removesuffix(".pointwise") for name in convolutions if name.endswith("pointwise")]
    assert len(pairs) == 34
    assert {f"{pair}.conv1" for pair in pairs} <= set(convolutions)
    rest = set(convolutions) - {
        f"{pair}.{part}" for pair in pairs for part in ("conv1", "pointwise")
    }
    shortcuts = {f"block{i}.skip" for i in (1, 2, 3, 12)}
    assert rest == {"conv1", "conv2"} | shortcuts
    assert counting.depth("legacy_xception", (1, 299, 299, 3)) == 2 + 2 * 34 + 1
