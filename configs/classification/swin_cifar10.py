"""A small Swin transformer on CIFAR-10, for a machine without a GPU: patches of 4 pixels, windows
of 4 patches, two stages on maps of 8 and 4 pixels a side.

python -m experiments.train --config=configs/classification/swin_cifar10.py --workdir=runs/swin

Reached 68.5 % on the 10,000 test images in 49 minutes on one x86 core. Trained on JPEG copies
(quality 91) of the training images; the test images were the originals.
"""

from configs import base, cifar10


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, one narrower block in each stage."""
    base.check_variant(variant, "smoke")
    config = cifar10.get_config("swin_t", batch_size=64)
    config.model.embed_dim = 64
    config.model.depths = (2, 4)
    config.model.num_heads = (2, 4)
    config.model.window_size = 4
    config.model.drop_path = 0.0
    cifar10.crop_and_flip(config)
    cifar10.train_for(config, epochs=12)
    cifar10.adamw(config)

    if variant == "smoke":
        config.schedule.lr = 3e-3
        cifar10.smoke(config, run=1000, embed_dim=32, depths=(1, 1), num_heads=(1, 2))
    return config.lock()
