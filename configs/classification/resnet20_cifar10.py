"""ResNet-20 on CIFAR-10. He 2015, section 4.2: 8.75 % error.

python -m experiments.train --config=configs/classification/resnet20_cifar10.py --workdir=runs/r20
"""

from configs import base


def get_config(variant="", *, depth=20, top1=0.9125):
    """`:smoke` trains on the embedded digits at half the width."""
    base.check_variant(variant, "smoke")
    config = base.get_config(task="classification")
    config.paper = ("He 2015, section 4.2", "test/top1", top1)
    config.model.name = f"resnet{depth}"
    config.data.name = "cifar10"
    config.data.mean = (0.4914, 0.4822, 0.4465)  # the paper takes off the mean of each pixel
    config.data.std = (0.2470, 0.2435, 0.2616)

    config.steps = 64_000
    config.batch_size = 128
    config.eval_every = 1000
    config.augment.crop_padding = 4
    config.augment.flip = True
    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 1e-4
    config.schedule.name = "multistep"
    config.schedule.lr = 0.1
    config.schedule.milestones = (32_000, 48_000)
    config.schedule.gamma = 0.1

    if variant == "smoke":
        config.model.width = 8
        base.smoke_digits(config, image_size=32, channels=3)
        config.steps = 150
        config.batch_size = 64
        config.eval_every = 75
        config.augment.flip = False  # a mirrored digit is another sign
        config.schedule.milestones = (100,)
    return config.lock()
