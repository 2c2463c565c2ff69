"""GoogLeNet on ImageNet. Szegedy 2014, sections 5 to 7: 10.07 % top-5 error of one crop.

The paper tells neither batch, length nor the first rate: those are ours.

python -m experiments.train --config=configs/classification/googlenet.py --workdir=runs/googlenet
"""

from configs import base, imagenet


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, two modules."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config("googlenet_2014", batch_size=256, epochs=100)
    config.paper = ("Szegedy 2014, table 3", "validation/top5", 0.8993)
    config.aux_weight = 0.3  # section 5
    config.ema = 0.9999  # section 6: Polyak's average

    config.augment.brightness = 0.5  # section 6 refers to Howard 2013
    config.augment.contrast = 0.5
    config.augment.saturation = 0.5
    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 2e-4
    config.schedule.name = "step"
    config.schedule.lr = 0.01
    config.schedule.step_size = imagenet.steps(8, 256)
    config.schedule.gamma = 0.96

    if variant == "smoke":
        modules = (
            ("inception4a", (192, 96, 208, 16, 48, 64)),
            ("inception4d", (112, 144, 288, 32, 64, 64)),
        )
        imagenet.smoke(
            config, lr=0.03, image_size=80, run=400, modules=modules, width_multiplier=0.25
        )
    return config.lock()
