"""Inception-v4 on ImageNet. Szegedy 2016, section 4: 20.0 % error of one crop.

The paper's 20 replicas of 32 examples are one batch here; length, weight decay and momentum are
of Inception-v3 and of the published code.

python -m experiments.train --config=configs/classification/inception_v4.py --workdir=runs/iv4
"""

from configs import base, imagenet


def get_config(variant="", *, model="inception_v4", top1=0.8):
    """`:smoke` trains on the embedded digits, the stem and the reductions, narrow."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config(model, batch_size=640, epochs=100, size=299, resize=342)
    config.paper = ("Szegedy 2016, table 2", "validation/top1", top1)
    config.model.dropout = 0.2  # figures 9 and 15: keep 0.8
    config.label_smoothing = 0.1
    config.ema = 0.9999

    imagenet.inception_colours(config)
    config.optimizer.name = "rmsprop"
    config.optimizer.alpha = 0.9  # the decay of the squares
    config.optimizer.eps = 1.0
    config.optimizer.momentum = 0.9  # not in the paper, but in the published code
    config.optimizer.weight_decay = 4e-5
    config.schedule.name = "step"
    config.schedule.lr = 0.045
    config.schedule.step_size = imagenet.steps(2, 640)
    config.schedule.gamma = 0.94

    if variant == "smoke":
        imagenet.smoke(config, lr=0.05, image_size=75, repeats=(0, 0, 0), width_multiplier=0.125)
    return config.lock()
