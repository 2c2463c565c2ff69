import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import ops
from jaxcv.ops import lattice as lattices
from tests import golden
from tests.ops.transforms import assert_same_under_transforms


def filter_cases():
    if not (golden.FOLDER / "crf").exists():
        return [pytest.param({"name": "absent"})]
    return [pytest.param(c, id=c["name"]) for c in golden.load("crf/filters.npz")[0]["cases"]]


@pytest.mark.parametrize("case", filter_cases())
def test_filters_and_their_transposes_equal_the_reference(case):
    _, arrays = golden.load("crf/filters.npz")
    features, values, want, transpose, exact = (
        arrays[f"{case['name']}/{key}"].T
        for key in ("in/features", "in/values", "out/lattice", "out/transpose64", "out/exact")
    )
    kernel = ops.lattice_kernel(features)
    assert kernel.points == case["lattice_points"]
    got, pullback = jax.vjp(lambda values: ops.gaussian_filter(values, kernel), values)
    golden.assert_close(got, want, case["float32_error"], floor=5e-7)
    golden.assert_close(pullback(values)[0], transpose, case["float32_error"], floor=5e-7)
    got, pullback = jax.vjp(
        lambda values: ops.gaussian_filter(values, ops.exact_kernel(features)), values
    )
    golden.assert_close(got, exact, floor=1e-6)
    golden.assert_close(pullback(values)[0], exact, floor=1e-6)


def points(count, dimensions, spread=3.0):
    return spread * jax.random.normal(jax.random.key(dimensions), (count, dimensions))


@pytest.mark.parametrize("normalization", ["none", "before", "after", "symmetric"])
def test_normalisations_and_gradients_are_those_of_the_matrix(normalization):
    features = points(30, 3, 1.0)
    matrix = np.asarray(ops.gaussian_filter(jnp.eye(30), ops.lattice_kernel(features)))
    sums = matrix.sum(axis=1)
    want = {
        "none": matrix,
        "before": matrix / sums,
        "after": matrix / sums[:, None],
        "symmetric": matrix / np.sqrt(sums * sums[:, None]),
    }[normalization]
    kernel = ops.lattice_kernel(features, normalization=normalization)
    got, pullback = jax.vjp(lambda values: ops.gaussian_filter(values, kernel), jnp.eye(30))
    np.testing.assert_allclose(got, want, atol=1e-6)
    np.testing.assert_allclose(pullback(jnp.eye(30))[0], want.T, atol=1e-6)


def test_keys_are_exact_where_all_hashes_collide():
    size = 128  # of a table for 100 keys
    keys = np.arange(200_000, dtype=np.int32) * 7 - 500_000
    collide = keys[np.asarray(lattices._hash((keys,), size)) == 5][:50]
    keys = jnp.asarray(np.concatenate([collide, collide[::-1]]))
    table, slot = jax.jit(lattices._hash_table)((keys,))
    np.testing.assert_array_equal(keys[table[slot]], keys)
    assert len(np.unique(slot)) == 50
    found = jax.jit(lattices._look_up)((jnp.concatenate([keys, keys + 1]),), (keys,), table)
    np.testing.assert_array_equal(keys[found[:100]], keys)
    np.testing.assert_array_equal(found[100:], 100)  # none of them is there


@pytest.mark.parametrize(("dimensions", "spread"), [(1, 1e5), (3, 1e4), (7, 300.0)])
def test_features_that_are_far_apart_only_meet_themselves(dimensions, spread):
    features = points(64, dimensions, spread)
    kernel = ops.lattice_kernel(features)
    assert kernel.points == 64 * (dimensions + 1)
    got = ops.gaussian_filter(jnp.eye(64), kernel)
    assert np.abs(got * (1 - np.eye(64))).max() == 0
    assert np.diag(got).min() > 0


@pytest.mark.parametrize("size", [1e7, 1e30, np.nan])
def test_features_too_long_for_float32_make_all_nan(size):
    features = points(64, 3).at[5, 1].set(size)
    got = ops.gaussian_filter(jnp.ones((64, 1)), ops.lattice_kernel(features, max_points=256))
    assert np.isnan(got).all()


def test_each_feature_is_left_out_of_its_own_sum():
    # Neighbours weigh e^-18 and e^-21.125 (e^-78.125 across), which 1 would swallow.
    features = jnp.array([[0.0], [6], [12.5]])
    kernel = ops.exact_kernel(features, normalization="after", self_term=False)
    values = jnp.array([[0.001], [1], [0.3]])
    got, pullback = jax.vjp(lambda values: ops.gaussian_filter(values, kernel), values)
    share = 1 / (1 + np.exp(-3.125))  # of the first of the two
    np.testing.assert_allclose(got[:, 0], [1, share * 0.001 + (1 - share) * 0.3, 1], rtol=1e-5)
    want = [share, 2, 1 - share]
    np.testing.assert_allclose(pullback(jnp.ones((3, 1)))[0][:, 0], want, rtol=1e-5)


def test_room_for_points_comes_in_a_few_sizes():
    sizes = sorted({lattices._bucket(n) for n in range(1, 1000)})
    assert sizes == [
        64,
        80,
        96,
        112,
        128,
        160,
        192,
        224,
        256,
        320,
        384,
        448,
        512,
        640,
        768,
        896,
        1024,
    ]
    assert all(n <= lattices._bucket(n) <= max(64, 1.25 * n) for n in range(1, 5000))


def test_too_little_room_is_nan_and_says_how_many_points_there_are():
    features = points(100, 2)
    enough = ops.lattice_kernel(features)
    build = jax.jit(ops.lattice_kernel, static_argnames="max_points")
    tight = build(features, max_points=int(enough.points))
    values = jnp.ones((100, 2))
    np.testing.assert_allclose(
        ops.gaussian_filter(values, tight), ops.gaussian_filter(values, enough), rtol=1e-6
    )
    short = build(features, max_points=int(enough.points) - 1)
    assert short.points == enough.points
    assert np.isnan(ops.gaussian_filter(values, short)).all()


def test_a_stream_of_features_compiles_once():
    run = jax.jit(ops.gaussian_filter)
    for i in range(3):
        features = points(120, 3) + 0.01 * i
        run(jnp.ones((120, 2)), ops.lattice_kernel(features))
    assert run._cache_size() == 1


@pytest.mark.parametrize("kernel", [ops.exact_kernel, ops.lattice_kernel])
def test_the_filters_are_the_same_under_all_transforms(kernel):
    room = {"max_points": 256} if kernel is ops.lattice_kernel else {}

    def run(values, features):
        return ops.gaussian_filter(values, kernel(features, normalization="after", **room))

    values = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    assert_same_under_transforms(run, values, np.asarray(points(50, 2, 1.0)))


def test_shards_have_lattices_of_their_own():
    def run(features):
        kernel = ops.lattice_kernel(features, max_points=64, normalization="after")
        return ops.gaussian_filter(features, kernel)

    mesh = jax.make_mesh((2,), ("batch",), devices=jax.devices()[:2])
    spec = jax.sharding.PartitionSpec("batch")
    features = points(32, 2, 1.0)
    spread = jax.device_put(features, jax.sharding.NamedSharding(mesh, spec))
    got = jax.jit(jax.shard_map(run, mesh=mesh, in_specs=spec, out_specs=spec))(spread)
    got = np.asarray(got)
    np.testing.assert_allclose(got[:16], run(features[:16]), atol=1e-6)
    np.testing.assert_allclose(got[16:], run(features[16:]), atol=1e-6)


def test_half_precision_is_computed_in_single():
    kernel = ops.lattice_kernel(points(40, 2))
    values = jax.random.normal(jax.random.key(0), (40, 3)).astype(jnp.bfloat16)
    got = ops.gaussian_filter(values, kernel)
    assert got.dtype == jnp.bfloat16
    want = ops.gaussian_filter(values.astype(jnp.float32), kernel)
    np.testing.assert_array_equal(got, want.astype(jnp.bfloat16))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: ops.lattice_kernel(f[0]), r"features must be \[\.\.\., K\] float.*got \[2\]"),
        (lambda f: ops.exact_kernel(f[:0]), r"features must be .* none of them 0, got \[0, 2\]"),
        (lambda f: ops.exact_kernel(f.astype(int)), r"features must be .* float.*int32"),
        (lambda f: ops.exact_kernel(f, normalization="symetric"), r"got 'symetric'.*'symmetric'\?"),
        (
            lambda f: ops.lattice_kernel(f, max_points=0),
            r"max_points must be an int above 0.*got 0",
        ),
        (lambda f: jax.jit(ops.lattice_kernel)(f), r"max_points must be given where .* traced"),
        (
            lambda f: ops.gaussian_filter(f[:5], ops.exact_kernel(f)),
            r"values must be as many as the kernel's features, got 5 for 9",
        ),
        (lambda f: ops.position_features((3, 3), sigma=-1), r"sigma must be a number above 0.*-1"),
        (lambda f: ops.position_features((3, 3), sigma=(1, 2, 3)), r"sigma must be .* 2 of them"),
        (
            lambda f: ops.bilateral_features(jnp.zeros((3, 3)), sigma=1, sigma_color=1),
            r"image must be \[H, W, C\], got \[3, 3\]",
        ),
        (
            lambda f: ops.bilateral_features(jnp.zeros((3, 3, 3)), sigma=1, sigma_color=0),
            r"sigma_color must be a number above 0 or 3 of them, got 0",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.zeros((9, 2)))
