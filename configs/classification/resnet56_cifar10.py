"""ResNet-56 on CIFAR-10. He 2015, section 4.2: 6.97 % error.

python -m experiments.train --config=configs/classification/resnet56_cifar10.py --workdir=runs/r56
"""

from configs.classification import resnet20_cifar10


def get_config(variant=""):
    """As ResNet-20's; only the depth differs."""
    return resnet20_cifar10.get_config(variant, depth=56, top1=0.9303)
