import jax
import numpy as np
import pytest

from jaxcv import train
from tests.train import toy


@pytest.fixture(scope="module")
def measured():
    """batch size -> what evaluating the toy's split of 22 in such batches gives."""
    task = toy.task()
    variables = toy.variables(task)
    evaluate = train.evaluator(task)
    placed = train.replicate(variables)
    return variables, {size: evaluate(placed, toy.split(22, size)) for size in (4, 8, 12, 24)}


def test_metrics_are_those_of_all_examples_whatever_the_batch_size(measured):
    variables, by_size = measured
    examples = toy.examples(np.arange(22))
    errors = (toy.MODEL.apply(variables, examples["x"]) - examples["y"]) ** 2
    for measurement in by_size.values():
        assert measurement.sums["count"] == 22
        np.testing.assert_allclose(measurement.metrics["square"], errors.mean(), rtol=1e-6)
        np.testing.assert_allclose(measurement.metrics["worst"], errors.max(), rtol=1e-6)


def test_each_real_example_has_one_record(measured):
    _, by_size = measured
    for measurement in by_size.values():
        records = measurement.records
        np.testing.assert_array_equal(records["id"], np.arange(22))
        np.testing.assert_array_equal(records["weight"], np.ones(22))
        np.testing.assert_allclose(records["worst"], by_size[4].records["worst"], rtol=1e-6)


def test_counts_go_beyond_float32():
    # float32 stays at 2^24 when 1 is added.
    task = toy.task(
        measure=lambda variables, batch: ({"count": batch["many"].sum()}, {}),
        summarise=lambda sums, records: {"count": sums["count"]},
    )

    def batch(many):
        return {"many": np.float32([many, 0, 0, 0]), "id": np.arange(4), "weight": np.ones(4)}

    variables = train.replicate({"params": {"w": np.zeros(())}})
    got = train.evaluator(task)(variables, [batch(2**24), batch(1), batch(1)])
    assert got.metrics["count"] == 2**24 + 2


def test_an_empty_split_is_an_error():
    with pytest.raises(ValueError, match="no batch to evaluate"):
        train.evaluator(toy.task())(train.replicate({"params": jax.numpy.ones(1)}), [])
