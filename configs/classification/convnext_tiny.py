"""ConvNeXt-T on ImageNet. Liu 2022, appendix A: 17.9 % error.

python -m experiments.train --config=configs/classification/convnext_tiny.py --workdir=runs/convnext
"""

from configs import base, imagenet


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, two narrow stages."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config("convnext_tiny", batch_size=4096, epochs=300)
    config.paper = ("Liu 2022, table 1", "validation/top1", 0.821)
    config.model.drop_path = 0.1
    config.ema = 0.9999

    imagenet.deit_augmentation(config)
    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 0.05
    config.optimizer.weight_decay_min_ndim = 2  # none for biases and norms
    config.optimizer.weight_decay_exclude = (r".*/layer_scale",)
    config.schedule.name = "cosine"
    config.schedule.lr = 4e-3
    config.schedule.min_lr = 1e-6
    config.schedule.warmup_steps = imagenet.steps(20, 4096)
    config.schedule.warmup_factor = 1e-3

    if variant == "smoke":
        imagenet.smoke(config, lr=4e-3, run=500, depths=(1, 1), widths=(32, 64))
    return config.lock()
