"""What recipes on ImageNet share: ILSVRC 2012 from TFDS (`imagenet2012`), or from folders
DIR/train/CLASS and DIR/validation/CLASS with --config.data.name=folder --config.data.dir=DIR.

Images are read as the middle square, resized; training crops are cut out of that, on the device, so
what lies beyond the square is not seen. The papers crop the whole image.
"""

from configs import base

TRAIN_EXAMPLES = 1_281_167


def get_config(model, *, batch_size, epochs, size=224, resize=256):
    """A run of a model of jaxcv.models on ImageNet.

    Training: crops of 8 to 100 % of the area, scaled to `size` pixels, half of them mirrored.
    Evaluation: one crop, the middle `size` pixels of the image resized to `resize`.
    """
    config = base.get_config(task="classification")
    config.model.name = model
    config.data.name = "imagenet2012"
    config.data.eval_splits = ("validation",)
    config.data.image_size = resize
    config.data.eval_crop = size
    config.data.channels = 3
    config.data.mean = (0.485, 0.456, 0.406)
    config.data.std = (0.229, 0.224, 0.225)
    config.augment.resized_crop = size
    config.augment.flip = True
    config.augment.fill = 0.449  # grey
    config.batch_size = batch_size
    config.steps = steps(epochs, batch_size)
    config.eval_every = config.checkpoint_every = steps(1, batch_size)
    config.best = ("validation/top1", "max")
    return config


def steps(epochs, batch_size):
    """How many steps so many passes over the training set take."""
    return round(epochs * TRAIN_EXAMPLES / batch_size)


def scale_jitter(config, low, high):
    """Square crops, as out of the image resized to a side of `low` to `high` pixels (VGG's)."""
    size = config.data.eval_crop
    config.augment.resized_crop_scale = ((size / high) ** 2, (size / low) ** 2)
    config.augment.resized_crop_ratio = (1.0, 1.0)


def inception_colours(config):
    """Colours changed as in the published preprocessing of the Inception networks."""
    config.augment.brightness = 32 / 255
    config.augment.contrast = 0.5
    config.augment.saturation = 0.5
    config.augment.hue = 0.2


def fb_resnet_torch(config):
    """Colours, optimiser and rates of fb.resnet.torch, on which several papers build."""
    config.augment.brightness = 0.4
    config.augment.contrast = 0.4
    config.augment.saturation = 0.4
    config.augment.lighting = 0.1
    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 1e-4
    config.schedule.name = "step"
    config.schedule.lr = 0.1
    config.schedule.step_size = steps(30, config.batch_size)


def deit_augmentation(config):
    """What DeiT trains with, and Swin and ConvNeXt after it (DeiT's table 9)."""
    config.label_smoothing = 0.1
    config.augment.rand_augment = 2
    config.augment.rand_augment_space = "timm"  # rand-m9-mstd0.5-inc1
    config.augment.rand_augment_magnitude = 9.0
    config.augment.rand_augment_std = 0.5
    config.augment.mixup = 0.8
    config.augment.cutmix = 1.0
    config.augment.erasing = 0.25
    config.augment.erasing_noise = True


def smoke(config, *, lr, image_size=32, run=150, **model):
    """The embedded digits in place of ImageNet.

    The goal: at least 90 % of the held-out ones are recognised.

    Args:
        config: changed in place.
        lr: the greatest rate.
        image_size: of the digits, pixels a side.
        run: steps.
        **model: attributes of the model that make it small.
    """
    base.smoke_digits(config, image_size=image_size, channels=3)
    config.data.eval_splits = ("test",)
    config.data.eval_crop = 0
    config.best = ("test/top1", "max")
    config.model.update(model)
    config.augment.flip = False  # a mirrored digit is another sign
    if config.augment.resized_crop:
        config.augment.resized_crop = image_size
        config.augment.resized_crop_scale = (0.7, 1.0)
        config.augment.resized_crop_ratio = (0.9, 1.1)
    config.augment.fill = 0.0
    # All of it, but weaker: these runs are short.
    config.augment.mixup = min(config.augment.mixup, 0.1)
    config.augment.cutmix = min(config.augment.cutmix, 0.1)
    config.augment.rand_augment_magnitude = min(config.augment.rand_augment_magnitude, 3.0)
    config.batch_size = 64
    config.steps = run
    config.eval_every = run // 2
    config.checkpoint_every = run
    config.ema = min(config.ema, 0.95)
    config.schedule.lr = lr
    config.schedule.warmup_steps = min(config.schedule.warmup_steps, 2)
