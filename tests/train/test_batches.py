import jax
import numpy as np

from jaxcv.train.batches import placed


def test_micro_batches_are_cut_first_and_devices_second():
    assert jax.device_count() == 4
    (batch,) = placed([{"id": np.arange(16)}], micro_batches=2)
    # [devices, micro-batches, m]: the first micro-batch is 0 .. 7.
    np.testing.assert_array_equal(
        batch["id"],
        [
            [[0, 1], [8, 9]],
            [[2, 3], [10, 11]],
            [[4, 5], [12, 13]],
            [[6, 7], [14, 15]],
        ],
    )


def test_batches_are_asked_for_ahead_and_come_in_order():
    asked = []

    def source():
        for number in range(5):
            asked.append(number)
            yield {"id": np.full(4, number)}

    stream = placed(source(), micro_batches=1, ahead=2)
    first = next(stream)
    assert asked == [0, 1, 2]  # one in use, two under way
    assert [int(batch["id"][0, 0, 0]) for batch in (first, *stream)] == [0, 1, 2, 3, 4]
