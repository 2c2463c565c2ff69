"""A small MobileNetV2 on CIFAR-10, for a machine without a GPU: Sandler 2018's blocks on maps of
16, 8 and 4 pixels a side.

python -m experiments.train --config=configs/classification/mobilenet_cifar10.py --workdir=runs/mini

Reached 81.8 % on the 10,000 test images in 24 minutes on one x86 core. Trained on JPEG copies
(quality 91) of the training images; the test images were the originals.
"""

from configs import base, cifar10


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, two blocks."""
    base.check_variant(variant, "smoke")
    config = cifar10.get_config("mobilenet_v2")
    # Expansion, channels, blocks, stride of the first.
    config.model.blocks = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 3, 2))
    config.model.dropout = 0.0
    cifar10.crop_and_flip(config)
    cifar10.train_for(config, epochs=6)
    config.optimizer.momentum = 0.9
    config.optimizer.nesterov = True
    config.optimizer.weight_decay = 5e-4
    config.schedule.name = "one_cycle"
    config.schedule.lr = 0.2

    if variant == "smoke":
        cifar10.smoke(config, blocks=((1, 16, 1, 1), (6, 32, 1, 2)))
    return config.lock()
