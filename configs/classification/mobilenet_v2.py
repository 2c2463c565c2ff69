"""MobileNetV2 on ImageNet. Sandler 2018, section 6.1: 28.0 % error.

The paper tells no length: 300 passes are torchvision's. Its 16 workers of 96 examples take steps by
turns; here a step has 96.

python -m experiments.train --config=configs/classification/mobilenet_v2.py --workdir=runs/mv2
"""

from configs import base, imagenet


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, two blocks, narrow."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config("mobilenet_v2", batch_size=96, epochs=300)
    config.paper = ("Sandler 2018, table 4", "validation/top1", 0.72)
    config.ema = 0.9999  # of the published code

    config.optimizer.name = "rmsprop"
    config.optimizer.alpha = 0.9
    config.optimizer.momentum = 0.9
    config.optimizer.eps = 1.0  # of the published code
    config.optimizer.weight_decay = 4e-5
    config.schedule.name = "step"
    config.schedule.lr = 0.045
    config.schedule.step_size = imagenet.steps(1, 96)
    config.schedule.gamma = 0.98

    if variant == "smoke":
        blocks = ((1, 16, 1, 1), (6, 32, 1, 2))
        imagenet.smoke(config, lr=0.05, blocks=blocks, width_multiplier=0.25)
    return config.lock()
