"""Transfer: a small ResNet on five classes of CIFAR-10 with five labels each, its features learned
on the other five.

python -m experiments.train --config=configs/classification/transfer_cifar10.py --workdir=runs/few
    learns from scratch, what transfer is measured against; and the transfer itself:

python -m experiments.train --config=configs/classification/transfer_cifar10.py:pretrain \
    --workdir=runs/pretrained
python -m experiments.train --config=configs/classification/transfer_cifar10.py \
    --config.init_from=runs/pretrained --config.init_exclude='linear/.*' \
    --config.optimizer.freeze='(?!linear/).*' --workdir=runs/transfer

What is frozen are parameters; the statistics of norms follow the new images. All of it, for five
seeds, is `python -m benchmarks.transfer`: 4 minutes on 2 x86 cores that other work shared, 38.7 %
from scratch, 49.2 % transferred (docs/transfer.md). Training images were JPEG copies (quality 91),
test images the originals.
"""

from configs import base, cifar10


def get_config(variant=""):
    """`:pretrain` learns the other half from all labels. `:smoke` is on the embedded digits."""
    base.check_variant(variant, "smoke", "pretrain")
    config = cifar10.get_config("resnet20", batch_size=25)  # all there is
    config.model.depth = 8
    config.model.width = 8
    config.data.classes = ("airplane", "dog", "frog", "horse", "ship")
    config.data.labels_per_class = 5
    config.steps = 60
    config.log_every = 20
    config.checkpoint_keep = 1
    config.optimizer.momentum = 0.9
    config.schedule.name = "cosine"
    config.schedule.lr = 0.05

    if variant == "pretrain":
        config.data.classes = ("automobile", "bird", "cat", "deer", "truck")
        config.data.labels_per_class = 0
        config.steps = 1200
        config.batch_size = 64
        config.log_every = 200
        config.augment.flip = True
        config.schedule.lr = 0.1
    if variant == "smoke":
        base.smoke_digits(config, image_size=32, channels=3)
        config.data.classes = tuple("56789")
        config.steps = 150
        config.batch_size = 24
    return config.lock()
