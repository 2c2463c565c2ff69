"""VGG-16 with batch normalisation on ImageNet, as torchvision trained it: 26.6 % error.

python -m experiments.train --config=configs/classification/vgg16_bn.py --workdir=runs/vgg16_bn
"""

from configs import base, imagenet


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, two convolutions, narrow."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config("vgg16_bn", batch_size=256, epochs=90)
    config.paper = ("torchvision, VGG16_BN IMAGENET1K_V1", "validation/top1", 0.7336)

    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 1e-4
    config.schedule.name = "step"
    config.schedule.lr = 0.01
    config.schedule.step_size = imagenet.steps(30, 256)

    if variant == "smoke":
        imagenet.smoke(config, lr=0.02, run=300, depths=(1, 1), widths=(16, 32), hidden=64)
    return config.lock()
