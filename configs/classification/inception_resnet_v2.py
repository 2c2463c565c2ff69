"""Inception-ResNet-v2 on ImageNet. Szegedy 2016, section 4: 19.9 % error of one crop.

python -m experiments.train --config=configs/classification/inception_resnet_v2.py --workdir=runs/ir
"""

from configs.classification import inception_v4


def get_config(variant=""):
    """As Inception-v4's, with which the paper trains it alike."""
    return inception_v4.get_config(variant, model="inception_resnet_v2", top1=0.801)
