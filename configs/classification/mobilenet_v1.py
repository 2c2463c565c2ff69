"""MobileNet (1.0, 224) on ImageNet. Howard 2017, section 3.2: 29.4 % error.

As Inception-v3, with less regularisation. The paper tells neither batch nor length: they are those
of MobileNetV2.

python -m experiments.train --config=configs/classification/mobilenet_v1.py --workdir=runs/mv1
"""

from configs import base, imagenet


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, two blocks, narrow."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config("mobilenetv1_100", batch_size=96, epochs=200)
    config.paper = ("Howard 2017, table 4", "validation/top1", 0.706)
    config.ema = 0.9999

    config.optimizer.name = "rmsprop"
    config.optimizer.alpha = 0.9  # the decay of the squares
    config.optimizer.eps = 1.0
    config.optimizer.momentum = 0.9  # of the published code
    config.optimizer.weight_decay = 4e-5
    config.optimizer.weight_decay_exclude = (r".*/conv_dw/kernel",)  # little or none for depthwise
    config.schedule.name = "step"
    config.schedule.lr = 0.045
    config.schedule.step_size = imagenet.steps(2, 96)
    config.schedule.gamma = 0.94

    if variant == "smoke":
        blocks = ((64, 1, 1), (128, 2, 1))
        imagenet.smoke(config, lr=0.1, run=400, blocks=blocks, width_multiplier=0.25)
    return config.lock()
