"""Xception on ImageNet. Chollet 2016, section 4: 21.0 % error of one crop.

The paper tells neither batch nor length: they are ours.

python -m experiments.train --config=configs/classification/xception.py --workdir=runs/xception
"""

from configs import base, imagenet


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, two blocks."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config(
        "legacy_xception", batch_size=256, epochs=100, size=299, resize=342
    )
    config.paper = ("Chollet 2016, table 1", "validation/top1", 0.79)
    config.model.dropout = 0.5
    config.ema = 0.9999  # section 4.3: Polyak's average

    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 1e-5
    config.schedule.name = "step"
    config.schedule.lr = 0.045
    config.schedule.step_size = imagenet.steps(2, 256)
    config.schedule.gamma = 0.94

    if variant == "smoke":
        small = {"blocks": (((16, 16), 2), ((16, 16, 16), 1)), "widths": (8, 16, 32, 32)}
        imagenet.smoke(config, lr=0.05, image_size=48, run=250, **small)
    return config.lock()
