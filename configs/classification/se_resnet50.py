"""SE-ResNet-50 on ImageNet. Hu 2017, section 6.1: 23.29 % error of one crop.

python -m experiments.train --config=configs/classification/se_resnet50.py --workdir=runs/se50
"""

from configs import base, imagenet


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, two narrow stages."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config("legacy_seresnet50", batch_size=1024, epochs=100)
    config.paper = ("Hu 2017, table 2", "validation/top1", 0.7671)

    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 1e-4
    config.schedule.name = "step"
    config.schedule.lr = 0.6
    config.schedule.step_size = imagenet.steps(30, 1024)

    if variant == "smoke":
        imagenet.smoke(config, lr=0.05, stage_sizes=(1, 1), width=16, reduction=4)
    return config.lock()
