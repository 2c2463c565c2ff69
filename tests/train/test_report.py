import numpy as np

from jaxcv.train import report
from tests.train import toy


def test_the_table_names_every_parameter_and_adds_up():
    variables = {
        "params": {"dense": {"kernel": np.zeros((40, 50), np.float32), "bias": np.zeros(50)}},
        "batch_stats": {"mean": np.zeros(7)},
    }
    assert report.table(variables).splitlines() == [
        "dense/bias          [50]         50  float64",
        "dense/kernel        [40, 50]  2,000  float32",
        "params in all                 2,050",
        "batch_stats in all                7",
    ]


def test_a_dense_layer_takes_two_operations_a_weight_and_one_a_bias():
    task = toy.task()
    example = toy.examples(np.arange(1))
    assert report.forward_flops(task, toy.variables(task), example) == 2 * 4 * 3 + 3


def test_the_versions_are_those_of_the_packages():
    versions = report.versions()
    assert versions["numpy"] == np.__version__
    assert {"python", "jax", "flax", "orbax-checkpoint"} <= versions.keys()


def test_the_device_is_told_in_words():
    assert report.device().startswith("4 x cpu (")
