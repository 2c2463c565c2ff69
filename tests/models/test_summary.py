import jax
import jax.numpy as jnp

from jaxcv import models


def test_rows_are_the_layers_in_the_order_in_which_they_run():
    rows = models.layer_rows(models.create("lenet5"), (2, 28, 28, 1))
    assert rows == [
        models.Layer("conv1", "Conv", (2, 28, 28, 6), 156),
        models.Layer("conv2", "Conv", (2, 10, 10, 16), 2_416),
        models.Layer("fc1", "Dense", (2, 120), 48_120),
        models.Layer("fc2", "Dense", (2, 84), 10_164),
        models.Layer("fc3", "Dense", (2, 10), 850),
    ]


def test_a_modules_own_parameters_are_counted_beside_those_of_its_layers():
    model = models.create("convnext_tiny", depths=(1,), widths=(4,), num_classes=3)
    rows = {row.name: row for row in models.layer_rows(model, (1, 8, 8, 3))}
    assert rows["features.1.0"].parameters == 4  # layer_scale
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert sum(row.parameters for row in rows.values()) == count


def test_the_table_ends_with_the_sum():
    table = models.layer_table(models.create("lenet5"), (1, 28, 28, 1)).splitlines()
    assert table[0].split() == ["layer", "kind", "output", "parameters"]
    assert table[1].split() == ["conv1", "Conv", "1", "x", "28", "x", "28", "x", "6", "156"]
    assert table[-1].split() == ["total", "61,706"]
