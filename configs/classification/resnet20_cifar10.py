"""ResNet-20 on CIFAR-10. He 2015, section 4.2: 8.75 % error.

python -m experiments.train --config=configs/classification/resnet20_cifar10.py --workdir=runs/r20
"""

from configs import base, cifar10


def get_config(variant="", *, depth=20, top1=0.9125):
    """`:smoke` trains on the embedded digits at half the width."""
    base.check_variant(variant, "smoke")
    config = cifar10.get_config(f"resnet{depth}")  # the paper takes off the mean of each pixel
    config.paper = ("He 2015, section 4.2", "test/top1", top1)

    config.steps = 64_000
    config.eval_every = 1000
    cifar10.crop_and_flip(config)
    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 1e-4
    config.schedule.name = "multistep"
    config.schedule.lr = 0.1
    config.schedule.milestones = (32_000, 48_000)
    config.schedule.gamma = 0.1

    if variant == "smoke":
        cifar10.smoke(config, width=8)
        config.schedule.milestones = (100,)
    return config.lock()
