"""Every field that a run has, with its default and what it does.

A config file starts from `get_config(task=...)`, states what differs, ends with `config.lock()`.
None stands for "not given"; what is taken instead is said at the field. Steps are optimiser steps,
batches are counted over all devices and hosts, patterns are regular expressions that must match the
whole "/"-joined path of a parameter ("conv1/kernel").
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config(task):
    """The defaults of every run of `task` ("classification", ...)."""
    config = ConfigDict()
    config.task = task
    config.paper = ("", "", 0.0)  # what is reproduced: (source, metric "split/name", value)
    config.seed = 0  # of initialisation, order of examples, augmentation, dropout
    config.command = ""  # how this config was asked for; filled in when it is loaded
    config.steps = 1000
    config.batch_size = 128
    config.accumulate = 1  # micro-batches a step, for batches that do not fit the device
    config.dtype = "float32"  # of the computation ("bfloat16", "float16"); parameters are float32
    config.label_smoothing = 0.0  # share of the uniform distribution in the target
    config.aux_weight = 0.0  # of the loss of each auxiliary head, where the model has some
    config.ema = 0.0  # decay of the moving average of parameters that is evaluated; 0: none
    config.remat = False  # keep only block boundaries for the backward pass: less memory, slower

    # When things happen, in steps. 0: only at the end.
    config.log_every = 100
    config.eval_every = 0
    config.checkpoint_every = 1000
    config.checkpoint_keep = 2  # newest checkpoints kept
    config.best = ("", "max")  # ("split/name", "max" or "min"): that checkpoint is kept as well
    config.pictures = 36  # examples of the first evaluated batch that are drawn

    # Where to start from: a run's folder, a checkpoint file in the reference's layout (.pth,
    # .safetensors, .npz), or "published", the file that jaxcv.weights knows. Patterns say which of
    # its parameters are taken (empty: all that the model has) and which are left at their new
    # initialisation (a new head).
    config.init_from = ""
    config.init_include = ()
    config.init_exclude = ()

    # Looking closer. These do not change results and may change when a run is taken up again.
    config.debug = False  # stop at the operation that makes the first NaN; slow
    config.profile = False  # trace `profile_steps` steps into WORKDIR/profile, after 10 if it can
    config.profile_steps = 5
    config.compilation_cache = "~/.cache/jaxcv/xla"  # folder of compiled programs; "": none

    config.model = ConfigDict()  # further fields are attributes of the model's module
    config.model.name = ""  # a name of jaxcv.models.available()
    config.model.num_classes = placeholder(int)  # None: as many as the data has

    config.data = _data()
    config.augment = _augment()
    config.views = _views()
    config.optimizer = _optimizer()
    config.schedule = _schedule()
    return config


def check_variant(variant, *known):
    """Raises ValueError unless `variant` (what follows ":" after the path) is "" or known."""
    if variant and variant not in known:
        choices = ", ".join(f":{name}" for name in known) or "none"
        raise ValueError(f"This config has no variant :{variant}; it has: {choices}.")


def smoke_digits(config, *, image_size=28, channels=1):
    """Puts the embedded digits in place of the data set."""
    config.data.name = "digits"
    config.data.image_size = image_size
    config.data.channels = channels
    config.data.mean, config.data.std = (0.3,), (0.35,)


def _data():
    data = ConfigDict()
    data.name = ""  # "digits", "digit_scenes", "folder" or a name of TFDS
    data.dir = "~/tensorflow_datasets"  # of TFDS's sets, or the folder of images
    data.download = False  # may a set that is not in `dir` be downloaded and built?
    data.train_split = "train"
    data.eval_splits = ("test",)
    data.classes = ()  # names of the classes that are kept, in their new order; empty: all
    data.labels_per_class = 0  # training examples of each class, drawn by the run's seed; 0: all
    data.image_size = 0  # pixels a side; 0: as the set has them
    data.channels = 0  # 1 or 3; 0: as the set has them
    data.class_names = ()  # which labels number; empty: as the set has them. Others rename its
    #   classes if none of these has a name there
    data.eval_resize = 0  # side in pixels that images are resized to for evaluation and prediction;
    #   0: they stay as they are
    data.eval_crop = 0  # side in pixels of the middle that is cut out of them then; 0: all
    data.mean = (0.0,)  # of the image in 0..1, taken off it; one value or one a channel
    data.std = (1.0,)  # divides the image after that
    data.cache_dir = ""  # folder of decoded sets; "": $JAXCV_CACHE or ~/.cache/jaxcv
    data.cache_limit = 2 * 2**30  # bytes up to which a set is decoded once and kept in memory
    data.workers = 0  # processes that read a set that is streamed; 0: threads of this one
    data.prefetch = 4  # batches read ahead

    scenes = data.scenes = ConfigDict()  # digit_scenes: how hard; lengths in pixels
    scenes.seed = 0  # of the scenes; the run's own seed does not change them
    scenes.train_size, scenes.test_size = 10_000, 1000
    scenes.min_objects, scenes.max_objects = 1, 4
    scenes.min_scale, scenes.max_scale = 16.0, 32.0  # side of a digit
    scenes.rotation = 15.0  # degrees to either side
    scenes.max_overlap = 0.3  # greatest IoU of two digits' boxes
    scenes.min_visible = 0.5  # least part of each digit's ink that stays visible
    scenes.truncation = 0.0  # how far a digit may reach over the edge, as part of its side
    scenes.strokes = 4  # lines behind the digits
    scenes.noise = 0.03  # standard deviation
    scenes.background = 0.3  # greatest brightness of the background
    scenes.ink = 0.7  # least brightness of digits and strokes
    scenes.colour = True  # where there are 3 channels
    return data


def _augment():
    """On the device, in the step, each example by its own draws. All off."""
    augment = ConfigDict()
    augment.flip = False  # left-right, of half of the examples
    augment.flip_vertical = False
    augment.crop = 0  # side in pixels of a random crop; 0: the image's own
    augment.crop_padding = 0  # pixels added on all sides before it
    augment.padding_mode = "constant"  # or "reflect"
    augment.fill = 0.0  # of what comes from outside the image, in 0..1
    augment.degrees = 0.0  # greatest rotation to either side
    augment.translate = 0.0  # greatest shift along x and y, as part of width and height
    augment.scale = (1.0, 1.0)  # range of the magnification
    augment.shear = 0.0  # greatest, degrees
    augment.resized_crop = 0  # side in pixels that Inception's crop is scaled to
    augment.resized_crop_scale = (0.08, 1.0)  # its area, as part of the image
    augment.resized_crop_ratio = (3 / 4, 4 / 3)  # its width over height
    augment.elastic_sigma = 0.0  # pixels, of the displacements of U-Net's coarse grid
    augment.elastic_grid = 3  # points a side of that grid
    augment.min_visible = 0.0  # objects that keep no more of their area are dropped
    augment.keypoint_pairs = ()  # (left, right) indices that a flip exchanges
    augment.rand_augment = 0  # operations of RandAugment, one after the other
    augment.rand_augment_space = "torchvision"  # or "timm", whose settings DeiT and Swin have
    augment.rand_augment_magnitude = 9.0  # of at most 30 in torchvision's space, 10 in timm's
    augment.rand_augment_std = 0.0  # deviation of the magnitude
    augment.trivial_augment = False  # one operation of any magnitude: TrivialAugment (wide)
    augment.auto_augment = False  # AutoAugment's pairs of operations, as learned on ImageNet
    augment.brightness = 0.0  # torchvision's ColorJitter: factors in 1 - x .. 1 + x
    augment.contrast = 0.0
    augment.saturation = 0.0
    augment.hue = 0.0  # -x .. x, at most 0.5
    augment.grayscale = 0.0  # probability
    augment.lighting = 0.0  # deviation of AlexNet's shift along ImageNet's principal colours
    augment.cutout = 0  # side in pixels of the square that is cut out
    augment.erasing = 0.0  # probability of random erasing
    augment.erasing_noise = False  # its box shows noise in place of `fill`
    augment.mixup = 0.0  # alpha of mixup; each example is mixed with its neighbour in the batch
    augment.cutmix = 0.0  # alpha of CutMix; with both on, each example gets one of the two
    return augment


def _views():
    """Of each image in evaluation and prediction; their probabilities are averaged. Default: one.

    A batch holds as many images as views, so a large `batch_size` may have to shrink.
    """
    views = ConfigDict()
    views.sizes = ()  # pixels a side that images are resized to, one after the other
    views.ten_crop = 0  # pixels a side of crops: corners, centre, their mirrors, in place of
    #   data.eval_crop; 0: none
    views.mirror = False  # whole images and their mirrors
    return views


def _optimizer():
    """Options are torch's; None: torch's default. Those of another optimiser are refused."""
    optimizer = ConfigDict()
    optimizer.name = "sgd"  # adam, adamw, adamax, nadam, radam, rmsprop, adagrad, adadelta, rprop,
    #   lion, lars, lamb
    optimizer.momentum = placeholder(float)  # sgd, rmsprop, lars
    optimizer.dampening = placeholder(float)  # sgd: part of the gradient left out of the momentum
    optimizer.nesterov = placeholder(bool)  # sgd
    optimizer.betas = placeholder(tuple)  # adam and its kin, lion: decay of the two averages
    optimizer.eps = placeholder(float)  # added to the root that divides the step
    optimizer.amsgrad = placeholder(bool)  # adam, adamw
    optimizer.momentum_decay = placeholder(float)  # nadam
    optimizer.decoupled_weight_decay = placeholder(bool)  # adam, nadam, radam
    optimizer.alpha = placeholder(float)  # rmsprop: decay of the average of squares
    optimizer.centered = placeholder(bool)  # rmsprop
    optimizer.lr_decay = placeholder(float)  # adagrad
    optimizer.initial_accumulator_value = placeholder(float)  # adagrad
    optimizer.rho = placeholder(float)  # adadelta
    optimizer.etas = placeholder(tuple)  # rprop: factors of a step after a change of sign, and none
    optimizer.step_sizes = placeholder(tuple)  # rprop: least and greatest step
    optimizer.trust = placeholder(float)  # lars
    optimizer.weight_decay = placeholder(float)

    optimizer.maximize = False
    optimizer.clip_global_norm = placeholder(float)  # longest gradient, over all parameters as one
    optimizer.freeze = ()  # patterns of parameters that stay as they are
    optimizer.lr_groups = ()  # (pattern, multiplier of the rate) pairs; the first that matches
    optimizer.weight_decay_exclude = ()  # patterns of parameters without weight decay
    optimizer.weight_decay_min_ndim = 0  # nor those of fewer dimensions; 2 spares biases and norms
    return optimizer


def _schedule():
    """Of the learning rate. Lengths are in steps; None: the schedule's own default."""
    schedule = ConfigDict()
    schedule.name = "constant"  # step, multistep, exponential, polynomial, cosine,
    #   cosine_restarts, one_cycle, cyclic
    schedule.lr = 0.1  # at the start; of one_cycle and cyclic the greatest
    schedule.total_steps = placeholder(int)  # cosine, polynomial, one_cycle; None: the run's
    schedule.min_lr = placeholder(float)  # cosine, cosine_restarts: where they end
    schedule.step_size = placeholder(int)  # step: between drops
    schedule.milestones = placeholder(tuple)  # multistep: of the drops
    schedule.gamma = placeholder(float)  # step, multistep, exponential, cyclic: factor
    schedule.power = placeholder(float)  # polynomial
    schedule.first_steps = placeholder(int)  # cosine_restarts: until the first restart
    schedule.growth = placeholder(int)  # cosine_restarts: each is so many times as long
    schedule.rise_fraction = placeholder(float)  # one_cycle
    schedule.initial_divisor = placeholder(float)  # one_cycle: greatest over first rate
    schedule.final_divisor = placeholder(float)  # one_cycle: first over last rate
    schedule.anneal = placeholder(str)  # one_cycle: "cosine" or "linear"
    schedule.three_phase = placeholder(bool)  # one_cycle
    schedule.base_lr = placeholder(float)  # cyclic: the least rate
    schedule.rise_steps = placeholder(int)  # cyclic
    schedule.fall_steps = placeholder(int)  # cyclic
    schedule.mode = placeholder(str)  # cyclic: "triangular", "triangular2", "exp_range"
    schedule.cycle_momentum = placeholder(bool)  # one_cycle, cyclic: momentum against the rate
    schedule.base_momentum = placeholder(float)  # one_cycle, cyclic: the least
    schedule.max_momentum = placeholder(float)  # one_cycle, cyclic: the greatest

    schedule.warmup_steps = 0
    schedule.warmup = "linear"  # or "constant"
    schedule.warmup_factor = 0.1  # the first rate over `lr`
    schedule.warmup_joined = True  # the schedule starts after it; False: it multiplies the schedule
    return schedule
