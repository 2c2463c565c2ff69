"""AlexNet on ImageNet. Krizhevsky 2012, sections 3 to 5: 40.7 % error over ten crops.

Ours evaluates one. The paper drops the rate by hand, three times in about 90 passes.

python -m experiments.train --config=configs/classification/alexnet.py --workdir=runs/alexnet
"""

from configs import base, imagenet


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, narrow."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config("alexnet_2012", batch_size=128, epochs=90)
    config.paper = ("Krizhevsky 2012, table 2, 1 CNN", "validation/top1", 0.593)

    config.augment.resized_crop = 0
    config.augment.crop = 224  # section 4.1
    config.augment.lighting = 0.1
    config.optimizer.momentum = 0.9  # section 5
    config.optimizer.weight_decay = 5e-4
    config.schedule.name = "multistep"
    config.schedule.lr = 0.01
    config.schedule.milestones = tuple(imagenet.steps(epoch, 128) for epoch in (30, 60, 80))
    config.schedule.gamma = 0.1

    if variant == "smoke":
        small = {"widths": (32, 64, 64, 64, 64), "hidden": 512, "deviation": 0.05}
        imagenet.smoke(config, lr=0.003, image_size=80, run=400, **small)
        config.augment.crop = 76
        config.data.eval_crop = 76
    return config.lock()
