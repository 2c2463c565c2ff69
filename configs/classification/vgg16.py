"""VGG-16 on ImageNet. Simonyan 2014, sections 2 and 3: 25.6 % error, with scale jittering, on
the whole image of 384 pixels.

Ours evaluates one crop. The paper drops the rate when accuracy stops rising, three times in 370,000
steps, and starts from a shallower network's weights where ours are He's.

python -m experiments.train --config=configs/classification/vgg16.py --workdir=runs/vgg16
"""

from configs import base, imagenet


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, two convolutions, narrow."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config("vgg16", batch_size=256, epochs=74)
    config.paper = ("Simonyan 2014, table 3, D at 384", "validation/top1", 0.744)

    imagenet.scale_jitter(config, 256, 512)  # section 3.1
    config.augment.lighting = 0.1
    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 5e-4
    config.schedule.name = "multistep"
    config.schedule.lr = 0.01
    config.schedule.milestones = tuple(imagenet.steps(epoch, 256) for epoch in (25, 45, 60))
    config.schedule.gamma = 0.1

    if variant == "smoke":
        imagenet.smoke(config, lr=0.05, run=400, depths=(1, 1), widths=(32, 64), hidden=512)
    return config.lock()
