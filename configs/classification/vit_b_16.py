"""ViT-B/16 on ImageNet from scratch, as DeiT-B. Touvron 2020, section 6: 18.2 % error.

Left out: repeated augmentation.

python -m experiments.train --config=configs/classification/vit_b_16.py --workdir=runs/vit_b_16
"""

from configs import base, imagenet


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, two narrow blocks."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config("vit_b_16", batch_size=1024, epochs=300)
    config.paper = ("Touvron 2020, table 5, DeiT-B", "validation/top1", 0.818)
    config.model.drop_path = 0.1

    imagenet.deit_augmentation(config)
    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 0.05
    config.optimizer.weight_decay_min_ndim = 2  # none for biases and norms
    config.optimizer.weight_decay_exclude = ("class_token", r"encoder\.pos_embedding")
    config.schedule.name = "cosine"
    config.schedule.lr = 1e-3  # 0.0005 x batch / 512
    config.schedule.min_lr = 1e-5
    config.schedule.warmup_steps = imagenet.steps(5, 1024)
    config.schedule.warmup_factor = 1e-3

    if variant == "smoke":
        small = {"patch_size": 8, "image_size": 32, "depth": 2, "hidden_size": 64}
        imagenet.smoke(config, lr=3e-3, run=1000, mlp_size=128, heads=2, **small)
    return config.lock()
