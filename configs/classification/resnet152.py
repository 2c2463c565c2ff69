"""ResNet-152 on ImageNet. He 2015, section 3.4: 23.0 % error of one crop (the released model).

python -m experiments.train --config=configs/classification/resnet152.py --workdir=runs/r152
"""

from configs.classification import resnet50


def get_config(variant=""):
    """As ResNet-50's; only the depth differs."""
    return resnet50.get_config(variant, depth=152, top1=0.77)
