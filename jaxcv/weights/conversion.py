"""State dicts of the reference <-> variables."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from jaxcv import models
from jaxcv.weights import layout as layouts

_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel, AveragedModel; of torch.compile
_COUNTER = "n_averaged"  # AveragedModel's, beside its keys with a prefix
_LISTED = 20  # keys of each kind that an error lists


def convert(name, state_dict, *, new_head=None, image_shape=None, say=print, **overrides):
    """Variables of a model from a state dict of the reference.

    Args:
        name: of `models.available()`.
        state_dict: {key: array} with the reference's keys and layouts, NumPy's or what NumPy takes.
            Prefixes "module." and "_orig_mod." of all keys are dropped, in any order and number,
            and AveragedModel's "n_averaged" beside them; keys of older files are translated.
        new_head: None, or a PRNG key from which the parameters that depend on the number of classes
            are drawn anew, those of the state dict being ignored.
        image_shape: [H, W, C] of the images, where it differs from the model's usual (a LeNet of
            three channels, say).
        say: function of a message for people.
        **overrides: of `models.create`, `num_classes` among them. With an `image_size`, position
            embeddings of another are resampled to it, as the model itself resamples them for
            images of another size.

    Returns:
        {"params": ..., "batch_stats": ...} of NumPy arrays in the variables' precision (float32),
        for `model.apply`.

    Raises:
        ValueError: keys are missing or unexpected, or values have another shape or no floating
            dtype: all are listed.
    """
    return to_variables(
        models.create(name, **overrides),
        state_dict,
        new_head=new_head,
        image_shape=image_shape,
        resample="image_size" in overrides,
        say=say,
    )


class Interface(NamedTuple):
    """What a published network takes and tells apart."""

    image_shape: tuple  # [H, W, C]
    num_classes: int


def interface(name, **overrides):
    """The Interface of `models.create(name, **overrides)`: that of its published files."""
    model = models.create(name, **overrides)
    return Interface(layouts.example(model).shape[1:], model.num_classes)


def to_variables(model, state_dict, *, new_head=None, image_shape=None, resample=False, say=print):
    """`convert` for a linen module instead of a name; `resample`: as with an `image_size` there."""
    layout = layouts.layout(model, image_shape)
    given = _of_today(layout, state_dict)
    resampled = _resampled(model, given) if resample else {}
    given |= resampled
    drawn = {} if new_head is None else _draw_head(model, layout, new_head, image_shape)
    wanted = {key: entry for key, entry in layout.entries.items() if key not in drawn}
    problems = _problems(layout, wanted, {k: a for k, a in given.items() if k not in drawn})
    if problems:
        hint = _hint(model, layout, given, image_shape)
        raise ValueError(f"state_dict does not fit {type(model).__name__}:\n{problems}{hint}")
    if resampled:
        say(f"Resampled for image_size={model.image_size}: {', '.join(resampled)}.")
    if drawn:
        say(f"Drawn anew for {model.num_classes} classes: {', '.join(drawn)}.")
    values = {entry.path: entry.adopt(given[key]) for key, entry in wanted.items()}
    values |= {layout.entries[key].path: value for key, value in drawn.items()}
    return traverse_util.unflatten_dict(values)


def to_state_dict(model, variables, *, image_shape=None):
    """A model's variables as the reference's state dict: {key: NumPy array}, the way back.

    Every value keeps its bits. Buffers that can be derived are made as the reference makes them:
    step counters are 0.

    Args:
        model: a linen module.
        variables: of this model, arrays of any kind.
        image_shape: as of `convert`.

    Raises:
        ValueError: the variables are not the model's; says what is missing, unexpected or of
            another shape.
    """
    layout = layouts.layout(model, image_shape)
    _check_variables(model, layout, variables)
    given = traverse_util.flatten_dict(variables)
    state = {key: entry.publish(given[entry.path]) for key, entry in layout.entries.items()}
    return state | {key: np.asarray(make()) for key, make in layout.derived.items()}


def _check_variables(model, layout, variables):
    given = traverse_util.flatten_dict(variables)
    wanted = {entry.path: entry for entry in layout.entries.values()}
    missing = ["/".join(path) for path in wanted if path not in given]
    unexpected = ["/".join(path) for path in given if path not in wanted]
    shapes = []
    for path, entry in wanted.items():
        expected = tuple(entry.shape[axis] for axis in np.argsort(entry.axes))
        if path in given and (found := np.shape(given[path])) != expected:
            shapes.append(f"{'/'.join(path)} is {list(found)}, not {list(expected)}")
    if problems := _report(missing=missing, unexpected=unexpected, shapes=shapes):
        raise ValueError(f"variables are not those of {type(model).__name__}:\n{problems}")


def _of_today(layout, state_dict):
    """{key of the newest files: array}, without prefixes that all keys have."""
    given = {}
    for key, array in _unwrapped(layout, state_dict).items():
        today = layout.key_of_today(key)
        if today in given:
            raise ValueError(f"state_dict has {today} twice, once under an older key.")
        given[today] = array
    return given


def _resampled(model, given):
    """{key: position embedding at the model's image_size}, empty where that changes nothing."""
    key = model.names.position if hasattr(model, "resample") else None
    if key not in given or not model.can_resample(_shape(given[key])):
        return {}
    if not jnp.issubdtype(_dtype(given[key]), jnp.floating):
        return {}
    resampled = np.asarray(model.resample(np.asarray(given[key])))
    return {} if resampled.shape == _shape(given[key]) else {key: resampled}


def _unwrapped(layout, state_dict):
    foreign = [p for p in _PREFIXES if not any(key.startswith(p) for key in layout.entries)]
    inner = {key: array for key, array in state_dict.items() if key != _COUNTER}
    for prefix in foreign:
        if inner and all(key.startswith(prefix) for key in inner):
            inner = {key.removeprefix(prefix): array for key, array in inner.items()}
            return _unwrapped(layout, inner)
    return state_dict


def _problems(layout, wanted, given):
    """What keeps a state dict from being adopted, as text; "" if nothing does."""
    missing = [key for key in wanted if key not in given]
    unexpected, shapes = [], []
    for key, array in given.items():
        if key in wanted:
            shape, dtype, expected = _shape(array), _dtype(array), wanted[key].shape
            if shape not in (expected, (1, *expected)[: 1 + len(expected)]):
                shapes.append(f"{key} is {list(shape)}, not {list(expected)}")
            elif not jnp.issubdtype(dtype, jnp.floating):
                shapes.append(f"{key} is {dtype}, not floating")
        elif key in layout.derived:
            if not _is_derived(array, layout.derived[key]()):
                shapes.append(f"{key} is not what the model's attributes make it")
        elif not layout.is_optional(key):
            unexpected.append(key)
    return _report(missing=missing, unexpected=unexpected, shapes=shapes)


def _is_derived(array, expected):
    if _shape(array) != expected.shape:
        return False
    if not expected.shape:
        return True  # a counter, of any value; where all was cast to half precision it was too
    return np.allclose(np.asarray(array, expected.dtype), expected, rtol=1e-5, atol=1e-6)


def _report(**lists):
    lines = []
    for title, items in lists.items():
        if items:
            more = len(items) - _LISTED
            rest = f", ... and {more} more" if more > 0 else ""
            lines.append(f"{title} ({len(items)}): {', '.join(items[:_LISTED])}{rest}")
    return "\n".join(lines)


def _hint(model, layout, given, image_shape):
    """What to do where the number of classes or the images' size is all that differs; else ""."""
    if not _problems(layout, layout.entries, given | _resampled(model, given)):
        return (
            "\nOnly the images' size differs: create the model with the checkpoint's image_size, or"
            f" give image_size={model.image_size} to have position embeddings resampled to it."
        )
    head = _head(model, layout, image_shape)
    rest = {key: entry for key, entry in layout.entries.items() if key not in head}
    fits = not _problems(layout, rest, {k: a for k, a in given.items() if k not in head})
    if not (head and fits):
        return ""
    return (
        f"\nOnly the head differs: create the model with the checkpoint's num_classes, or draw"
        f" {', '.join(head)} anew with new_head=jax.random.key(0)."
    )


def _head(model, layout, image_shape):
    """Keys of the parameters whose shape depends on the number of classes."""
    if not hasattr(model, "num_classes"):
        return []
    other = layouts.layout(model.clone(num_classes=model.num_classes + 1), image_shape).entries
    return [key for key, entry in layout.entries.items() if other[key].shape != entry.shape]


def _draw_head(model, layout, key, image_shape):
    """{key: new value} of the head. What the compiler sees is these draws alone."""
    head = _head(model, layout, image_shape)
    image = layouts.example(model, image_shape)

    @jax.jit
    def draw(key):
        variables = traverse_util.flatten_dict(model.init(key, jnp.zeros(image.shape)))
        return [variables[layout.entries[name].path] for name in head]

    return dict(zip(head, map(np.asarray, draw(key))))


def _shape(array):
    return tuple(array.shape) if hasattr(array, "shape") else np.shape(array)


def _dtype(array):
    return array.dtype if hasattr(array, "dtype") else np.asarray(array).dtype
