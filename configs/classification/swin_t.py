"""Swin-T on ImageNet. Liu 2021, section 4.1: 18.7 % error.

python -m experiments.train --config=configs/classification/swin_t.py --workdir=runs/swin_t
"""

from configs import base, imagenet


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, two narrow stages."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config("swin_t", batch_size=1024, epochs=300)
    config.paper = ("Liu 2021, table 1", "validation/top1", 0.813)
    config.model.drop_path = 0.2

    imagenet.deit_augmentation(config)
    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 0.05
    config.optimizer.weight_decay_min_ndim = 2  # none for biases and norms
    config.optimizer.weight_decay_exclude = (r".*/relative_position_bias_table",)
    config.optimizer.clip_global_norm = 5.0  # of the published code
    config.schedule.name = "cosine"
    config.schedule.lr = 1e-3
    config.schedule.min_lr = 1e-5
    config.schedule.warmup_steps = imagenet.steps(20, 1024)
    config.schedule.warmup_factor = 5e-4

    if variant == "smoke":
        small = {"embed_dim": 32, "depths": (1, 1), "num_heads": (2, 4), "window_size": 4}
        imagenet.smoke(config, lr=4e-3, run=1000, drop_path=0.05, **small)
    return config.lock()
