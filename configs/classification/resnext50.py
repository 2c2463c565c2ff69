"""ResNeXt-50 (32x4d) on ImageNet. Xie 2016, section 4: 22.2 % error of one crop.

python -m experiments.train --config=configs/classification/resnext50.py --workdir=runs/rx50
"""

from configs import base, imagenet


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, two narrow stages of four paths."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config("resnext50_32x4d", batch_size=256, epochs=100)
    config.paper = ("Xie 2016, table 3", "validation/top1", 0.778)

    imagenet.fb_resnet_torch(config)  # which the paper refers to

    if variant == "smoke":
        small = {"stage_sizes": (1, 1), "width": 16, "cardinality": 4}
        imagenet.smoke(config, lr=0.05, **small)
    return config.lock()
