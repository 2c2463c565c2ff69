"""A small vision transformer on CIFAR-10, for a machine without a GPU: patches of 4 pixels, six
blocks of 96 channels.

python -m experiments.train --config=configs/classification/vit_cifar10.py --workdir=runs/vit

Reached 74.0 % on the 10,000 test images in 58 minutes on one x86 core, 65 % after 36 minutes.
Trained on JPEG copies (quality 91) of the training images; the test images were the originals.
"""

from configs import base, cifar10


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, two narrower blocks."""
    base.check_variant(variant, "smoke")
    config = cifar10.get_config("vit_b_16", batch_size=64)
    config.model.patch_size = 4
    config.model.image_size = 32
    config.model.depth = 6
    config.model.hidden_size = 96
    config.model.mlp_size = 192
    config.model.heads = 3
    config.model.pool = "gap"
    cifar10.crop_and_flip(config)
    cifar10.train_for(config, epochs=10)
    cifar10.adamw(config)

    if variant == "smoke":
        config.schedule.lr = 3e-3
        cifar10.smoke(config, run=600, depth=2, hidden_size=48, mlp_size=96)
    return config.lock()
