"""DenseNet-121 on ImageNet. Huang 2016, section 4.2: 25.02 % error of one crop.

Augmentation is that of fb.resnet.torch, which the paper builds on.

python -m experiments.train --config=configs/classification/densenet121.py --workdir=runs/densenet
"""

from configs import base, imagenet


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, two small blocks."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config("densenet121", batch_size=256, epochs=90)
    config.paper = ("Huang 2016, table 3", "validation/top1", 0.7498)

    imagenet.fb_resnet_torch(config)
    config.optimizer.nesterov = True

    if variant == "smoke":
        small = {"growth_rate": 8, "block_config": (2, 2), "num_init_features": 16}
        imagenet.smoke(config, lr=0.05, **small)
    return config.lock()
