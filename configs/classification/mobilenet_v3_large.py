"""MobileNetV3-Large on ImageNet. Howard 2019, section 6.1: 24.8 % error.

The paper tells no length: 600 passes are torchvision's.

python -m experiments.train --config=configs/classification/mobilenet_v3_large.py --workdir=runs/mv3
"""

from configs import base, imagenet


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, two blocks."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config("mobilenet_v3_large", batch_size=4096, epochs=600)
    config.paper = ("Howard 2019, table 3", "validation/top1", 0.752)
    config.model.dropout = 0.2  # keep 0.8
    config.ema = 0.9999

    imagenet.inception_colours(config)
    config.optimizer.name = "rmsprop"
    config.optimizer.momentum = 0.9
    config.optimizer.alpha = 0.9
    config.optimizer.eps = 1e-3  # torchvision has 0.0316, outside the root
    config.optimizer.weight_decay = 1e-5
    config.schedule.name = "step"
    config.schedule.lr = 0.1
    config.schedule.step_size = imagenet.steps(3, 4096)
    config.schedule.gamma = 0.99

    if variant == "smoke":
        blocks = ((3, 16, 16, False, "RE", 1), (5, 64, 24, True, "HS", 2))
        imagenet.smoke(config, lr=0.01, blocks=blocks, last_width=64, norm_momentum=0.1)
    return config.lock()
