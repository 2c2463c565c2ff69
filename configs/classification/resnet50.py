"""ResNet-50 on ImageNet. He 2015, section 3.4: 24.7 % error of one crop (the released model).

The paper drops the rate when the error stops falling, in up to 600,000 steps.

python -m experiments.train --config=configs/classification/resnet50.py --workdir=runs/r50
"""

from configs import base, imagenet


def get_config(variant="", *, depth=50, top1=0.753):
    """`:smoke` trains on the embedded digits, two narrow stages."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config(f"resnet{depth}", batch_size=256, epochs=120)
    config.paper = ("He 2015, released model, one crop", "validation/top1", top1)
    config.model.stride_on_first = True  # of a bottleneck, as in the paper

    imagenet.scale_jitter(config, 256, 480)
    config.augment.lighting = 0.1
    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 1e-4
    config.schedule.name = "step"
    config.schedule.lr = 0.1
    config.schedule.step_size = imagenet.steps(30, 256)

    if variant == "smoke":
        imagenet.smoke(config, lr=0.05, stage_sizes=(1, 1), width=16)
    return config.lock()
