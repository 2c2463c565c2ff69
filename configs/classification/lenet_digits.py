"""LeNet-5 on scikit-learn's 1,797 handwritten digits: real data that is always at hand.

python -m experiments.train --config=configs/classification/lenet_digits.py --workdir=runs/digits
"""

from configs import base


def get_config(variant=""):
    """`:smoke` takes fewer steps."""
    base.check_variant(variant, "smoke")
    config = base.get_config(task="classification")
    config.model.name = "lenet5"
    base.smoke_digits(config)
    config.steps = 1000
    config.batch_size = 128
    config.eval_every = 200
    config.best = ("test/top1", "max")
    config.augment.degrees = 10.0
    config.augment.translate = 0.1
    config.optimizer.momentum = 0.9
    config.schedule.name = "cosine"
    config.schedule.lr = 0.05

    if variant == "smoke":
        config.steps = 150
        config.eval_every = 50
    return config.lock()
