"""EfficientNet-B0 on ImageNet. Tan 2019, section 5.2: 22.9 % error.

Batch, length, warm-up, label smoothing and the average are those of the published code.

python -m experiments.train --config=configs/classification/efficientnet_b0.py --workdir=runs/b0
"""

from configs import base, imagenet


def get_config(variant=""):
    """`:smoke` trains on the embedded digits, two blocks."""
    base.check_variant(variant, "smoke")
    config = imagenet.get_config("efficientnet_b0", batch_size=4096, epochs=350)
    config.paper = ("Tan 2019, table 2", "validation/top1", 0.771)
    config.model.dropout = 0.2
    config.model.drop_path = 0.2  # survival 0.8
    config.model.norm_momentum = 0.01  # 0.99 of the old value
    config.model.norm_epsilon = 1e-3
    config.label_smoothing = 0.1
    config.ema = 0.9999

    config.augment.auto_augment = True
    config.optimizer.name = "rmsprop"
    config.optimizer.alpha = 0.9
    config.optimizer.momentum = 0.9
    config.optimizer.eps = 1e-3
    config.optimizer.weight_decay = 1e-5
    config.schedule.name = "step"
    config.schedule.lr = 0.256
    config.schedule.step_size = imagenet.steps(2.4, 4096)
    config.schedule.gamma = 0.97
    config.schedule.warmup_steps = imagenet.steps(5, 4096)
    config.schedule.warmup_joined = False

    if variant == "smoke":
        blocks = ((False, 1, 3, 1, 16, 1), (False, 6, 5, 2, 24, 1))
        imagenet.smoke(config, lr=0.01, blocks=blocks, last_width=64, norm_momentum=0.1)
    return config.lock()
