"""ResNet-50 on ImageNet by torchvision's second recipe (2021, IMAGENET1K_V2): 19.1 % error.

Left out: repeated augmentation (--ra-reps 4).

python -m experiments.train --config=configs/classification/resnet50_2021.py --workdir=runs/r50_2021
"""

from configs import base, imagenet


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, two narrow stages."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config("resnet50", batch_size=1024, epochs=600, resize=232)
    config.paper = ("torchvision, ResNet50 IMAGENET1K_V2", "validation/top1", 0.80858)
    config.label_smoothing = 0.1
    config.ema = 0.99997  # 0.99998 every 32 steps at its batch and length, here in every step

    config.augment.resized_crop = 176
    config.augment.trivial_augment = True
    config.augment.mixup = 0.2
    config.augment.cutmix = 1.0
    config.augment.erasing = 0.1
    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 2e-5
    config.optimizer.weight_decay_min_ndim = 2  # none for norms
    config.schedule.name = "cosine"
    config.schedule.lr = 0.5
    config.schedule.warmup_steps = imagenet.steps(5, 1024)
    config.schedule.warmup_factor = 0.01

    if variant == "smoke":
        imagenet.smoke(config, lr=0.05, run=300, stage_sizes=(1, 1), width=16)
    return config.lock()
