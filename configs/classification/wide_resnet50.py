"""WRN-50-2-bottleneck on ImageNet. Zagoruyko 2016, section 3.4: 21.9 % error of one crop.

Rates and augmentation are those of fb.resnet.torch, which the paper builds on.

python -m experiments.train --config=configs/classification/wide_resnet50.py --workdir=runs/wrn50
"""

from configs import base, imagenet


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, two narrow stages."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config("wide_resnet50_2", batch_size=256, epochs=90)
    config.paper = ("Zagoruyko 2016, table 8", "validation/top1", 0.781)

    imagenet.fb_resnet_torch(config)

    if variant == "smoke":
        small = {"stage_sizes": (1, 1), "width": 16, "bottleneck_width": 32}
        imagenet.smoke(config, lr=0.05, **small)
    return config.lock()
