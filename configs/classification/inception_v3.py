"""Inception-v3 on ImageNet. Szegedy 2015, sections 7 and 8: 21.2 % error of one crop.

The paper's 50 replicas of 32 examples are one batch here. Weight decay, the momentum and the weight
of the auxiliary head are those of the published code.

python -m experiments.train --config=configs/classification/inception_v3.py --workdir=runs/iv3
"""

from configs import base, imagenet


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, one module; the auxiliary head wants 299 pixels."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config("inception_v3", batch_size=1600, epochs=100, size=299, resize=342)
    config.paper = ("Szegedy 2015, table 3", "validation/top1", 0.788)
    config.label_smoothing = 0.1  # section 7
    config.aux_weight = 0.4
    config.ema = 0.9999  # section 8: evaluated with the running average

    imagenet.inception_colours(config)
    config.optimizer.name = "rmsprop"
    config.optimizer.alpha = 0.9  # the decay of the squares
    config.optimizer.eps = 1.0
    config.optimizer.momentum = 0.9  # not in the paper, but in the published code
    config.optimizer.weight_decay = 4e-5
    config.optimizer.clip_global_norm = 2.0
    config.schedule.name = "step"
    config.schedule.lr = 0.045
    config.schedule.step_size = imagenet.steps(2, 1600)
    config.schedule.gamma = 0.94

    if variant == "smoke":
        imagenet.smoke(config, lr=0.05, image_size=75, repeats=(1, 0, 0), width_multiplier=0.125)
    return config.lock()
