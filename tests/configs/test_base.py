"""The fields of base are those that the code reads: none is missing, none is dead."""

import dataclasses
import re

import jax
import numpy as np
from ml_collections import ConfigDict

from configs import base
from jaxcv.data import augment, digit_scenes
from jaxcv.train import optimizers, options, schedules
from tests.experiments.scripts import ROOT

CONFIG = base.get_config(task="classification")


def test_every_option_of_the_optimisers_can_be_given():
    takes = set(options.keywords(*optimizers.OPTIMIZERS.values()))
    of_all = {
        "name",
        "maximize",
        "clip_global_norm",
        "freeze",
        "lr_groups",
        "weight_decay_exclude",
        "weight_decay_min_ndim",
    }
    assert set(CONFIG.optimizer) == takes | of_all


def test_every_option_of_the_schedules_can_be_given():
    takes = set(
        options.keywords(
            *schedules.SCHEDULES.values(),
            schedules.one_cycle_momentum,
            schedules.cyclic_momentum,
        )
    )
    of_all = {"name", "lr", "warmup_steps", "warmup", "warmup_factor", "warmup_joined"}
    assert set(CONFIG.schedule) == takes | of_all | {"cycle_momentum"}


def test_every_optimiser_and_schedule_is_named():
    text = (ROOT / "configs" / "base.py").read_text()
    names = [*optimizers.OPTIMIZERS, *schedules.SCHEDULES]
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


def test_the_scenes_have_the_fields_and_defaults_of_their_options():
    fields = CONFIG.data.scenes.to_dict()
    of_the_set = {"seed": 0, "train_size": 10_000, "test_size": 1000}
    assert fields == of_the_set | dataclasses.asdict(digit_scenes.Options())


class Recorder:
    """A config that remembers which of its fields were read."""

    def __init__(self, fields):
        self.fields, self.read = fields, set()

    def __getattr__(self, name):
        self.read.add(name)
        return self.fields[name]


def test_every_field_of_augment_is_read():
    on = {
        "flip": True,
        "flip_vertical": True,
        "crop_padding": 1,
        "degrees": 1.0,
        "translate": 0.1,
        "shear": 1.0,
        "resized_crop": 8,
        "elastic_sigma": 1.0,
        "brightness": 0.1,
        "contrast": 0.1,
        "saturation": 0.1,
        "hue": 0.1,
        "grayscale": 0.1,
        "rand_augment": 1,
        "lighting": 0.1,
        "cutout": 2,
        "erasing": 0.1,
    }
    config = Recorder(CONFIG.augment.to_dict() | on)
    augment.create(config)
    augment.create_mixing(config, num_classes=2)
    assert config.read == set(CONFIG.augment)


def test_augment_is_off_by_default():
    image = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    keys = jax.random.split(jax.random.key(0), 2)
    augmented = augment.create(CONFIG.augment)(keys, {"image": image})["image"]
    np.testing.assert_allclose(augmented, image / 255, rtol=1e-6)


def test_every_other_field_is_read_somewhere():
    files = [*ROOT.glob("jaxcv/**/*.py"), *ROOT.glob("experiments/*.py")]
    code = "\n".join(file.read_text() for file in files)
    fields = [n for n, value in CONFIG.items() if not isinstance(value, ConfigDict)]
    unread = [n for n in fields if not re.search(rf"""(config\.{n}\b|\["{n}"\])""", code)]
    unread += [
        f"data.{n}"
        for n, value in CONFIG.data.items()
        if not isinstance(value, ConfigDict) and not re.search(rf"(data|fields)\.{n}\b", code)
    ]
    assert unread == []
