"""What runs on CIFAR-10 share."""

from configs import base

TRAIN_EXAMPLES = 50_000


def get_config(model, *, batch_size=128):
    """A run of a model of jaxcv.models on CIFAR-10, standardised by its training images."""
    config = base.get_config(task="classification")
    config.model.name = model
    config.data.name = "cifar10"
    config.data.mean = (0.4914, 0.4822, 0.4465)
    config.data.std = (0.2470, 0.2435, 0.2616)
    config.batch_size = batch_size
    return config


def crop_and_flip(config):
    """Images padded by 4 pixels, cropped to their size, half of them mirrored (He 2015, 4.2)."""
    config.augment.crop_padding = 4
    config.augment.flip = True


def train_for(config, epochs):
    """So many passes over the training set, each followed by an evaluation."""
    epoch = TRAIN_EXAMPLES // config.batch_size
    config.steps = epochs * epoch
    config.eval_every = config.checkpoint_every = epoch
    config.best = ("test/top1", "max")


def adamw(config):
    """Optimiser and rates of the small transformers."""
    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 0.05
    config.optimizer.weight_decay_min_ndim = 2  # none for biases and norms
    config.optimizer.clip_global_norm = 1.0
    config.schedule.name = "one_cycle"
    config.schedule.lr = 1e-3


def smoke(config, *, run=150, **model):
    """The embedded digits in place of CIFAR-10, for `run` steps, by a model made small.

    The goal: at least 90 % of the held-out digits are recognised.
    """
    base.smoke_digits(config, image_size=32, channels=3)
    config.model.update(model)
    config.augment.flip = False  # a mirrored digit is another sign
    config.batch_size = 64
    config.steps = run
    config.eval_every = run // 2
    config.checkpoint_every = run
