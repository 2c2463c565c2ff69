"""Image classification: one class for each image, by softmax cross-entropy."""

import functools

import flax.errors
import jax
import jax.numpy as jnp
import numpy as np

from jaxcv import draw, layers, losses, metrics, models
from jaxcv.data import augment, views
from jaxcv.train import Task

_NAMED = 5  # classes that a prediction names
_CELL = 224  # side in pixels of a class activation map, as drawn


def create(config):
    """The Task of a classification run.

    Batches hold `image` [B, H, W, C], uint8 or float 0..1, and `label` [B] int. Reads
    `config.model`, `config.dtype`, `config.remat`, `config.augment`, `config.views`,
    `config.label_smoothing`, `config.aux_weight` and of `config.data` `class_names`, `image_size`,
    `mean`, `std`, `eval_resize` and `eval_crop`. In training `top1` is the share that the predicted
    class has in the target, which mixup and CutMix make of two classes. Metrics are those of
    `metrics.classification_scores`, and `loss`, without smoothing. Predictions are `classes` and
    `probabilities`, [B, 5] (or as many as there are classes), the most probable first.

    Raises:
        ValueError: an unknown model, an attribute it does not have, fewer classes than names,
            or a field out of range.
    """
    model, num_classes = _model(config)
    augmented = augment.create(config.augment)
    mixed = augment.create_mixing(config.augment, num_classes=num_classes)
    cross_entropy = _loss(config)
    normalised = functools.partial(augment.normalize, mean=config.data.mean, std=config.data.std)
    seen = _views(config)

    def logits_of(variables, image):
        """[B, K]; of several views, those of their mean probabilities."""
        logits = []
        for view in seen(image):
            count, batch = view.shape[:2]
            flat = normalised(view.reshape(count * batch, *view.shape[2:]))
            one = model.apply(variables, flat, train=False)["logits"].astype(jnp.float32)
            logits.append(one.reshape(count, batch, -1))
        return views.average(jnp.concatenate(logits))

    def init(key, batch):
        return model.init(key, normalised(seen(batch["image"])[0][0]))

    def loss(variables, batch, key):
        _check_labelled(batch)
        augment_key, dropout_key = jax.random.split(key)
        keys = layers.example_keys(augment_key, len(batch["image"]))
        batch = mixed(jax.vmap(jax.random.fold_in, (0, None))(keys, 1), augmented(keys, batch))
        try:
            outputs, collections = model.apply(
                variables,
                normalised(batch["image"]),
                train=True,
                rngs={"dropout": dropout_key},
                mutable=[name for name in variables if name != "params"],
            )
        except flax.errors.ScopeParamShapeError as error:
            raise ValueError(
                "The model was made for images as evaluation shows them, and those of training"
                " have another size. Let data.image_size or data.eval_crop agree with"
                f" augment.crop or augment.resized_crop. ({error})"
            ) from error
        weight = batch["weight"]
        target = batch.get("target", batch["label"])
        terms = {
            name: ((values * weight).sum(), weight.sum())
            for name, values in cross_entropy(outputs, target).items()
        }
        right = _share(target, outputs["logits"].argmax(-1))
        return terms, (collections, {"top1": ((right * weight).sum(), weight.sum())})

    def measure(variables, batch):
        _check_labelled(batch)
        logits, weight = logits_of(variables, batch["image"]), batch["weight"]
        values = losses.cross_entropy(logits, batch["label"])
        sums = metrics.classification_sums(logits, batch["label"], weight=weight)
        return sums | {"loss": (values * weight).sum()}, {}

    def summarise(sums, records):
        del records
        scores = metrics.classification_scores(
            {name: total for name, total in sums.items() if name != "loss"}
        )
        return {"loss": float(sums["loss"] / np.maximum(scores["count"], 1))} | scores

    def predict(variables, inputs):
        probabilities = jax.nn.softmax(logits_of(variables, inputs["image"]))
        best, classes = jax.lax.top_k(probabilities, min(_NAMED, num_classes))
        return {"classes": classes, "probabilities": best}

    return Task(
        init=init,
        losses={"classifier": loss},
        measure=measure,
        summarise=summarise,
        predict=predict,
        draw=functools.partial(_draw, class_names=config.data.class_names),
    )


def activation_maps(config):
    """Class activation maps of a run's network (`models.class_activation_map`) on whole images.

    Returns:
        The function (variables, image [B, H, W, C], classes [B, N]) -> [B, N, h, w].

    Raises:
        ValueError: the network has none, or as `create`.
    """
    head = models.pooled_head(_model(config)[0])

    def maps(variables, image, classes):
        image = _middle(image, config.data.eval_resize, 0)
        image = augment.normalize(image, mean=config.data.mean, std=config.data.std)
        features, kernel, _ = head(variables, image)
        return jax.vmap(models.class_activation_map, (0, None, 0))(features, kernel, classes)

    return maps


def draw_activation_maps(image, maps, captions):
    """An image and beside it its maps as heat, each over its own range: uint8 [H, W, 3].

    Args:
        image: [H, W, C] as of a batch.
        maps: [N, h, w].
        captions: N lines of text.
    """
    large = draw.enlarge(image, max(1, _CELL // max(image.shape[:2])))
    tiles = [large] + [draw.heat(large, one) for one in maps]
    return draw.grid(tiles, captions=["", *captions], columns=3, cell=_CELL)


def _model(config):
    """(module, number of classes)."""
    names = config.data.class_names
    num_classes = config.model.num_classes
    num_classes = len(names) if num_classes is None else num_classes
    if num_classes < max(len(names), 1):
        raise ValueError(
            f"model.num_classes is {num_classes}, but the data has {len(names)} classes. Leave it"
            " None to take the data's."
        )
    attributes = {k: v for k, v in config.model.items() if k not in ("name", "num_classes")}
    model = models.create(
        config.model.name,
        num_classes=num_classes,
        dtype=_dtype(config.dtype),
        **attributes,
    )
    if config.remat and not hasattr(model, "remat"):
        raise ValueError(f"remat is True, but {config.model.name} has no blocks to compute again.")
    return model.clone(remat=True) if config.remat else model, num_classes


def _check_labelled(batch):
    if "label" not in batch:
        raise ValueError(
            f"Classification needs images with one label each; this data.name has"
            f" {', '.join(sorted(batch))}."
        )


def _loss(config):
    """Function (outputs of the model, labels or probabilities) -> {term: [B]}."""
    smoothing, aux_weight = config.label_smoothing, config.aux_weight
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing must be in [0, 1], got {smoothing}.")
    if aux_weight < 0:
        raise ValueError(f"aux_weight must be at least 0, got {aux_weight}.")

    def cross_entropy(outputs, target):
        heads = {"cross_entropy": (1, outputs["logits"])}
        if aux_weight:
            heads |= {name: (aux_weight, x) for name, x in outputs.get("aux", {}).items()}
        options = {"label_smoothing": smoothing}
        return {
            name: weight * losses.cross_entropy(logits.astype(jnp.float32), target, **options)
            for name, (weight, logits) in heads.items()
        }

    return cross_entropy


def _views(config):
    """Function of images [B, H, W, C] -> what of them is judged, float: list of [V, B, h, w, C]."""
    size, crop = config.data.eval_resize, config.data.eval_crop
    given = size or config.data.image_size
    if min(size, crop) < 0 or (given and crop > given):
        raise ValueError(
            "data.eval_resize must be at least 0, and data.eval_crop at least 0 and no more than"
            f" it or data.image_size ({given}), got {size} and {crop}."
        )
    if config.views.ten_crop:
        crop = 0  # they are cut out of all of the image
    seen = views.create(config.views, image_size=crop or given)
    return lambda image: seen(_middle(image, size, crop))


def _middle(image, size, crop):
    """Images [B, H, W, C] as float, resized to `size` and cut to the middle `crop`, unless 0."""
    image = augment.as_float(image)
    for change, side in ((augment.resize, size), (augment.center_crop, crop)):
        if side:
            cut = functools.partial(change, size=(side, side))
            image = jax.vmap(lambda one, cut=cut: cut({"image": one})["image"])(image)
    return image


def _share(target, classes):
    """What part of each target, a label or probabilities, the predicted classes [B] have: [B]."""
    if jnp.issubdtype(target.dtype, jnp.integer):
        return classes == target
    return jnp.take_along_axis(target, classes[:, None], axis=1)[:, 0]


def _dtype(name):
    known = ("float32", "bfloat16", "float16")
    if name not in known:
        raise ValueError(f"dtype is {name!r}, expected one of {', '.join(known)}.")
    return jnp.dtype(name)


def _draw(inputs, predictions, sums, *, class_names):
    """Images that have a name: each beside its bars. Others: one sheet; the confusion matrix."""

    def name(label):
        return class_names[label] if label < len(class_names) else str(label)

    images, classes, probabilities = (
        inputs["image"],
        predictions["classes"],
        predictions["probabilities"],
    )
    if "name" in inputs:
        return {
            f"{file}.png": draw.bars(image, values, [name(c) for c in labels])
            for file, image, values, labels in zip(inputs["name"], images, probabilities, classes)
        }
    captions = [f"{name(c[0])} {p[0]:.0%}" for c, p in zip(classes, probabilities)]
    correct = None
    if "label" in inputs:
        correct = (classes[:, 0] == inputs["label"]).tolist()
        captions = [
            caption if right else f"{caption} ({name(label)})"
            for caption, right, label in zip(captions, correct, inputs["label"])
        ]
    pictures = {"predictions.png": draw.grid(images, captions=captions, correct=correct)}
    if "confusion" in sums:
        names = [name(label) for label in range(len(sums["confusion"]))]
        pictures["confusion.png"] = draw.confusion_matrix(sums["confusion"], names)
    return pictures
