"""ResNet-20 on CIFAR-10 in 7 epochs, for a machine without a GPU: He 2015's network, a one-cycle
rate and more weight decay in place of the paper's 164 epochs.

python -m experiments.train --config=configs/classification/resnet20_short.py --workdir=runs/short

Reached 84.0 % on the 10,000 test images in 65 minutes on 2 x86 cores that other work shared. It was
trained on JPEG copies (quality 91) of the training images; the test images were the originals.
"""

from configs.classification import resnet20_cifar10


def get_config(variant=""):
    """`:smoke` is ResNet-20's: the embedded digits at half the width."""
    config = resnet20_cifar10.get_config(variant)
    config.schedule.name = "one_cycle"
    config.schedule.lr = 0.3
    config.schedule.milestones = None
    config.schedule.gamma = None
    config.optimizer.weight_decay = 5e-4
    if not variant:
        config.steps = 7 * 390
        config.eval_every = 390
        config.log_every = 130
    return config
