import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import load_config
from jaxcv import models, tasks

NAMES = tuple("abcdefg")
MEAN, STD, SMOOTHING = 0.3, 0.5, 0.2
RNG = np.random.default_rng(0)
BATCH = {
    "image": RNG.integers(0, 256, (4, 28, 28, 1), np.uint8),
    "label": np.array([0, 3, 6, 2], np.int32),
    "id": np.arange(4, dtype=np.int32),
    "weight": np.array([1, 1, 1, 0], np.float32),
}


def config_of(**overrides):
    """lenet5 on seven classes, with label smoothing and without augmentation."""
    overrides = {
        "data.class_names": NAMES,
        "data.mean": (MEAN,),
        "data.std": (STD,),
        "label_smoothing": SMOOTHING,
        "augment.degrees": 0.0,
        "augment.translate": 0.0,
    } | overrides
    return load_config("configs/classification/lenet_digits.py", **overrides)


@pytest.fixture(scope="module")
def task():
    return tasks.create(config_of())


@pytest.fixture(scope="module")
def variables(task):
    return task.init(jax.random.key(0), BATCH)


@pytest.fixture(scope="module")
def loss(task):
    return jax.jit(task.losses["classifier"])


@pytest.fixture(scope="module")
def measure(task):
    return jax.jit(task.measure)


@pytest.fixture(scope="module")
def log_probabilities(variables):
    """[4, 7], of the network alone on images normalised here, in float64."""
    image = (BATCH["image"] / 255 - MEAN) / STD
    network = models.create("lenet5", num_classes=7)
    logits = np.float64(network.apply(variables, jnp.float32(image))["logits"])
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def test_the_loss_is_cross_entropy_with_smoothing_over_real_examples(
    loss, variables, log_probabilities
):
    terms, (collections, logged) = loss(variables, BATCH, jax.random.key(1))
    own = log_probabilities[np.arange(4), BATCH["label"]]
    each = -(1 - SMOOTHING) * own - SMOOTHING * log_probabilities.mean(1)
    total, weight = terms["cross_entropy"]
    np.testing.assert_allclose([total, weight], [each[:3].sum(), 3], rtol=1e-5)
    right = log_probabilities.argmax(1) == BATCH["label"]
    np.testing.assert_array_equal(logged["top1"], [right[:3].sum(), 3])
    assert collections == {}


def test_examples_of_weight_0_change_nothing(loss, measure, variables):
    other = BATCH | {"image": BATCH["image"].copy(), "label": np.array([0, 3, 6, 5], np.int32)}
    other["image"][3] = 255
    for function, more in ((loss, [jax.random.key(1)]), (measure, [])):
        got, want = function(variables, other, *more), function(variables, BATCH, *more)
        jax.tree.map(np.testing.assert_array_equal, got, want)


def test_evaluation_is_without_smoothing(task, measure, variables, log_probabilities):
    sums, records = measure(variables, BATCH)
    metrics = task.summarise(jax.tree.map(np.float64, sums), records)
    own = log_probabilities[np.arange(4), BATCH["label"]][:3]
    assert metrics["loss"] == pytest.approx(-own.mean(), rel=1e-5)
    assert metrics["top1"] == (log_probabilities.argmax(1) == BATCH["label"])[:3].mean()
    assert metrics["count"] == 3
    assert records == {}


def test_sums_of_batches_add_up(task, measure, variables):
    weights = [np.float32([1, 0, 1, 0]), np.float32([0, 1, 0, 0])]
    parts = [measure(variables, BATCH | {"weight": weight})[0] for weight in weights]
    whole, _ = measure(variables, BATCH)
    added = jax.tree.map(lambda a, b: np.float64(a) + np.float64(b), *parts)
    got, want = task.summarise(added, {}), task.summarise(jax.tree.map(np.float64, whole), {})
    assert got.pop("loss") == pytest.approx(want.pop("loss"), rel=1e-6)
    assert got == want


def test_several_views_are_measured_by_their_mean_probabilities(variables):
    image = np.random.default_rng(1).integers(0, 256, (4, 32, 30, 1), np.uint8)
    task = tasks.create(config_of(**{"views.ten_crop": 28}))
    shapes = jax.eval_shape(task.init, jax.random.key(0), BATCH | {"image": image})
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, variables)  # of a crop

    sides = np.stack([image, image[:, :, ::-1]]) / 255  # [2, 4, 32, 30, 1]
    places = [(0, 0), (0, 2), (4, 0), (4, 2), (2, 1)]
    crops = np.concatenate([sides[:, :, y : y + 28, x : x + 28] for y, x in places])
    network = models.create("lenet5", num_classes=7)
    logits = jax.jit(network.apply)(
        variables, jnp.float32(crops.reshape(40, 28, 28, 1) - MEAN) / STD
    )
    want = np.float64(jax.nn.softmax(logits["logits"])).reshape(10, 4, 7).mean(0)

    sums, _ = jax.jit(task.measure)(variables, BATCH | {"image": image})
    metrics = task.summarise(jax.tree.map(np.float64, sums), {})
    own = np.log(want[np.arange(4), BATCH["label"]])[:3]
    assert metrics["loss"] == pytest.approx(-own.mean(), rel=1e-5)
    assert metrics["top1"] == (want.argmax(1) == BATCH["label"])[:3].mean()
    predicted = jax.jit(task.predict)(variables, {"image": image})
    np.testing.assert_allclose(predicted["probabilities"][:, 0], want.max(1), rtol=1e-5)


def test_predictions_are_the_five_most_probable_first(task, variables, log_probabilities):
    predicted = jax.jit(task.predict)(variables, {"image": BATCH["image"]})
    order = np.argsort(-log_probabilities, axis=1)[:, :5]
    np.testing.assert_array_equal(predicted["classes"], order)
    want = np.exp(np.take_along_axis(log_probabilities, order, axis=1))
    np.testing.assert_allclose(predicted["probabilities"], want, rtol=1e-5)


def test_of_three_classes_three_are_named():
    task = tasks.create(config_of(**{"data.class_names": ("a", "b", "c")}))
    variables = jax.eval_shape(task.init, jax.random.key(0), BATCH)
    predicted = jax.eval_shape(task.predict, variables, BATCH)
    assert predicted["classes"].shape == predicted["probabilities"].shape == (4, 3)


def test_augmentation_follows_the_key():
    task = tasks.create(config_of(**{"augment.brightness": 0.9}))
    variables = task.init(jax.random.key(0), BATCH)
    loss = jax.jit(task.losses["classifier"])
    values = [
        float(loss(variables, BATCH, jax.random.key(seed))[0]["cross_entropy"][0])
        for seed in (1, 1, 2)
    ]
    assert values[0] == values[1] != values[2]


def test_mixed_examples_have_soft_targets(variables):
    task = tasks.create(config_of(**{"augment.mixup": 1.0, "augment.cutmix": 1.0}))
    # One image for all: mixing changes targets alone, and every example has the same logits.
    batch = BATCH | {"image": np.zeros_like(BATCH["image"]), "weight": np.ones(4, np.float32)}
    terms, (_, logged) = jax.jit(task.losses["classifier"])(variables, batch, jax.random.key(1))
    image = jnp.full((1, 28, 28, 1), -MEAN / STD)
    logits = models.create("lenet5", num_classes=7).apply(variables, image)["logits"][0]
    each = -np.float64(jax.nn.log_softmax(logits))
    pairs = each[BATCH["label"]].reshape(2, 2)  # losses of a pair's two labels
    hard = (float(terms["cross_entropy"][0]) - 4 * SMOOTHING * each.mean()) / (1 - SMOOTHING)
    assert 2 * pairs.min(1).sum() < hard < 2 * pairs.max(1).sum()
    assert abs(hard - pairs.sum()) > 1e-4
    assert 0 <= float(logged["top1"][0]) <= 4


def test_auxiliary_heads_have_terms_of_their_own():
    fields = {
        "model.name": "googlenet",
        "model.modules": (
            ("inception4a", (192, 96, 208, 16, 48, 64)),
            ("inception4d", (112, 144, 288, 32, 64, 64)),
        ),
        "model.width_multiplier": 0.1,
    }
    batch = BATCH | {"image": np.zeros((4, 32, 32, 3), np.uint8)}
    terms = []
    for weight in (0.0, 0.3):
        task = tasks.create(config_of(aux_weight=weight, **fields))
        variables = jax.eval_shape(task.init, jax.random.key(0), batch)
        loss = task.losses["classifier"]
        terms.append(set(jax.eval_shape(loss, variables, batch, jax.random.key(0))[0]))
    assert terms == [{"cross_entropy"}, {"cross_entropy", "aux1", "aux2"}]


def test_evaluation_sees_the_middle(task, variables):
    framed = np.pad(BATCH["image"], [(0, 0), (4, 4), (4, 4), (0, 0)], constant_values=255)
    cut = tasks.create(config_of(**{"data.image_size": 36, "data.eval_crop": 28}))
    got = jax.jit(cut.predict)(variables, {"image": framed})
    want = jax.jit(task.predict)(variables, BATCH)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got, want)


def test_evaluation_resizes_before_it_cuts(variables):
    flat = np.full((4, 56, 56, 1), 200, np.uint8)
    fields = {"data.image_size": 56, "data.eval_resize": 36, "data.eval_crop": 28}
    got = jax.jit(tasks.create(config_of(**fields)).predict)(variables, {"image": flat})
    want = jax.jit(tasks.create(config_of()).predict)(variables, {"image": flat[:, :28, :28]})
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got, want)


def test_half_precision_leaves_parameters_and_loss_in_float32():
    task = tasks.create(config_of(dtype="bfloat16"))
    variables = jax.eval_shape(task.init, jax.random.key(0), BATCH)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    loss = jax.eval_shape(task.losses["classifier"], variables, BATCH, jax.random.key(0))
    assert loss[0]["cross_entropy"][0].dtype == jnp.float32
    assert "bf16" in str(jax.make_jaxpr(task.predict)(variables, {"image": BATCH["image"]}))


def test_statistics_come_back_and_remat_reaches_the_model():
    fields = {"model.name": "resnet20", "model.depth": 8}
    batch = BATCH | {"image": np.zeros((4, 8, 8, 3), np.uint8)}
    programs = []
    for remat in (False, True):
        task = tasks.create(config_of(remat=remat, **fields))
        variables = jax.eval_shape(task.init, jax.random.key(0), batch)
        loss = task.losses["classifier"]
        _, (collections, _) = jax.eval_shape(loss, variables, batch, jax.random.key(0))
        assert collections == {"batch_stats": variables["batch_stats"]}
        programs.append(str(jax.make_jaxpr(loss)(variables, batch, jax.random.key(0))))
    assert ["remat" in program for program in programs] == [False, True]


def test_pictures_have_the_names_of_what_was_measured():
    draw = tasks.create(config_of()).draw
    predictions = {
        "classes": np.array([[0, 1], [2, 9]]),
        "probabilities": np.array([[0.9, 0.1], [0.6, 0.4]]),
    }
    inputs = {"image": BATCH["image"][:2]}
    assert draw(inputs, predictions, {}).keys() == {"predictions.png"}
    labelled = draw(inputs | {"label": np.array([0, 1])}, predictions, {"confusion": np.eye(10)})
    assert labelled.keys() == {"predictions.png", "confusion.png"}
    named = draw(inputs | {"name": ["x", "y"]}, predictions, {})
    assert named.keys() == {"x.png", "y.png"}
    for picture in (*labelled.values(), *named.values()):
        assert picture.dtype == np.uint8
        assert picture.ndim == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "clasification"}, "task is 'clasification', .* Nearest: classification"),
        ({"model.name": "lenet6"}, "no model 'lenet6'. Nearest: lenet5"),
        ({"model.depth": 3}, "depth: no attribute of model lenet5"),
        ({"model.num_classes": 6}, "num_classes is 6, but the data has 7 classes"),
        ({"data.class_names": ()}, "num_classes is 0"),
        ({"label_smoothing": 1.5}, r"label_smoothing must be in \[0, 1\], got 1.5"),
        ({"dtype": "float64"}, "dtype is 'float64', expected one of float32"),
        ({"remat": True}, "remat is True, but lenet5 has no blocks"),
        ({"augment.hue": 0.7}, "config.augment: hue"),
        ({"augment.mixup": -0.1}, "config.augment.mixup must be at least 0"),
        ({"aux_weight": -0.3}, "aux_weight must be at least 0, got -0.3"),
        ({"data.eval_crop": 29}, r"eval_crop .* no more than it or data.image_size \(28\)"),
    ],
)
def test_a_field_that_does_not_fit_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        tasks.create(config_of(**fields))


def test_images_without_a_label_are_refused():
    task = tasks.create(config_of())
    batch = {name: array for name, array in BATCH.items() if name != "label"}
    with pytest.raises(ValueError, match=r"one label each; this data\.name has .*image"):
        task.measure({}, batch)
    with pytest.raises(ValueError, match=r"one label each; this data\.name has .*image"):
        task.losses["classifier"]({}, batch, jax.random.key(0))
