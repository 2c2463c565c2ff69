"""LeNet-5 on MNIST. LeCun 1998, section III-B: 99.05 % (99.2 % with distortions).

python -m experiments.train --config=configs/classification/lenet_mnist.py --workdir=runs/lenet
"""

from configs import base


def get_config(variant=""):
    """`:smoke` trains on the embedded digits."""
    base.check_variant(variant, "smoke")
    config = base.get_config(task="classification")
    config.paper = ("LeCun 1998, section III-B", "test/top1", 0.9905)
    config.model.name = "lenet5"
    config.data.name = "mnist"
    config.data.mean, config.data.std = (0.1307,), (0.3081,)

    config.steps = 20 * 60_000 // 128  # the paper's 20 passes; its batch is 1
    config.eval_every = 60_000 // 128
    config.best = ("test/top1", "max")
    config.optimizer.momentum = 0.9  # ours: the paper uses a diagonal Levenberg-Marquardt step
    config.schedule.name = "cosine"
    config.schedule.lr = 0.05  # per step, at batch_size 128

    if variant == "smoke":
        base.smoke_digits(config)
        config.steps = 300
        config.eval_every = 100
    return config.lock()
