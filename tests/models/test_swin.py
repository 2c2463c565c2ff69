import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import layers, models
from jaxcv.models import swin
from tests.models import counting

KEY = jax.random.key(0)
KINDS = [swin.WindowAttention, swin.CosineWindowAttention]


def random_params(module, x):
    shapes = jax.eval_shape(module.init, KEY, x)
    random = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: random.uniform(-1, 1, leaf.shape).astype(np.float32), shapes)


def test_windows_save_nine_tenths_of_the_multiplications_of_the_first_stage():
    shape = (1, 56, 56, 96)
    assert sum(counting.multiplications(swin.WindowAttention(3, 7), shape)) == 145_108_992
    assert sum(counting.multiplications(swin.WindowAttention(3, 56), shape)) == 2_003_828_736


def test_maps_of_an_image_of_224_pixels_have_sides_56_28_14_7():
    model = models.create("swin_t")
    outputs, _ = jax.eval_shape(model.init_with_output, KEY, jnp.zeros((1, 224, 224, 3)))
    sides = [outputs["stages"][f"features.{i}"].shape[1] for i in (1, 3, 5, 7)]
    assert sides == [56, 28, 14, 7]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shift", [0, 2])
def test_a_token_sees_the_tokens_of_its_window_alone(kind, shift):
    # A map of 8x8 in windows of 4: columns 2..5 share one that is moved by 2, and 6, 7 and 0, 1
    # two that are computed together.
    x = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (1, 8, 8, 8)), jnp.float32)
    module = kind(2, 4, shift)
    params = random_params(module, x)

    @jax.jit
    def changed(column):
        moved = x.at[:, 4, column].add(1.0)
        difference = module.apply(params, moved) - module.apply(params, x)
        return (abs(difference) > 1e-6).any((0, 3))

    seen = changed(7)
    rows, columns = np.nonzero(np.asarray(seen))
    if shift:
        assert (set(rows), set(columns)) == ({2, 3, 4, 5}, {6, 7})
    else:
        assert (set(rows), set(columns)) == ({4, 5, 6, 7}, {4, 5, 6, 7})


def test_an_axis_that_one_window_covers_is_not_moved_along():
    x = jnp.zeros((1, 4, 8, 8))
    windows = swin._Windows(x.shape, 4, 2)
    assert windows.shifts == [0, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_through_padding_are_finite(kind):
    # A map of 3x5 in windows of 4: the padding has keys of length 0 in V2.
    x = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (1, 3, 5, 8)), jnp.float32)
    module = kind(2, 4, 2)
    params = random_params(module, x)
    gradients = jax.jit(jax.grad(lambda p, x: (module.apply(p, x) ** 2).sum(), (0, 1)))(params, x)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_merging_orders_the_four_neighbours_by_columns():
    x = jnp.arange(4.0).reshape(1, 2, 2, 1) * 10  # 0 10 / 20 30
    merging = swin.PatchMerging(layers.LayerNorm)
    shapes = jax.eval_shape(merging.init, KEY, x)
    assert shapes["params"]["reduction"]["kernel"].shape == (4, 2)
    params = {
        "norm": {"scale": np.ones(4), "bias": np.zeros(4)},
        "reduction": {"kernel": np.eye(4, 2)},  # the first two of the four
    }
    first, second = merging.apply({"params": params}, x)[0, 0, 0]
    # Normalised 0 and 20 of 0, 20, 10, 30: mean 15, deviation 11.18.
    np.testing.assert_allclose([first, second], [-15 / 125**0.5, 5 / 125**0.5], rtol=1e-5)


def test_stages_and_heads_must_agree():
    model = models.create("swin_t", depths=(2, 2))
    with pytest.raises(ValueError, match=r"one entry a stage, got \(2, 2\) and \(3, 6, 12, 24\)"):
        jax.eval_shape(model.init, KEY, jnp.zeros((1, 32, 32, 3)))
