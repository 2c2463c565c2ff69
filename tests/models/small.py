"""A small network of every file of architectures, for tests that must compile one."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv import models

CLASSES = 5

# File -> a variant, the attributes that make it small, and an image's shape.
SMALL = {
    "alexnet": ("alexnet", {"widths": (8,) * 5, "hidden": 16}, (64, 64, 3)),
    "bninception": (
        "bninception",
        {
            "modules": (
                ("3a", 64, 64, 64, 64, 96, "average", 32),
                ("3c", None, 128, 160, 64, 96, "max", None),
            ),
            "width_multiplier": 0.1,
        },
        (32, 32, 3),
    ),
    "convnext": ("convnext_tiny", {"depths": (1, 1), "widths": (8, 16)}, (16, 16, 3)),
    "densenet": (
        "densenet121",
        {"growth_rate": 4, "block_config": (1, 2), "num_init_features": 8},
        (32, 32, 3),
    ),
    "efficientnet": (
        "efficientnet_b0",
        {"blocks": ((True, 2, 3, 2, 8, 1), (False, 2, 5, 1, 8, 1))},
        (16, 16, 3),
    ),
    "googlenet": (
        "googlenet",
        {
            "modules": (("inception4a", (192, 96, 208, 16, 48, 64)),),
            "width_multiplier": 0.1,
            "aux_logits": False,
        },
        (32, 32, 3),
    ),
    "inception_resnet_v2": (
        "inception_resnet_v2",
        {"repeats": (0, 0, 0), "width_multiplier": 0.1},
        (75, 75, 3),
    ),
    "inception_v3": (
        "inception_v3",
        {"repeats": (1, 0, 0), "width_multiplier": 0.1, "aux_logits": False},
        (75, 75, 3),
    ),
    "inception_v4": (
        "inception_v4",
        {"repeats": (0, 0, 0), "width_multiplier": 0.1},
        (75, 75, 3),
    ),
    "lenet": ("lenet5", {}, (28, 28, 1)),
    "mnasnet": ("mnasnet1_0", {"stacks": ((3, 2, 3, 2, 24),), "alpha": 0.3}, (16, 16, 3)),
    "mobilenet_v1": (
        "mobilenetv1_100",
        {"blocks": ((32, 1, 1), (64, 2, 1)), "width_multiplier": 0.25},
        (16, 16, 3),
    ),
    "mobilenet_v2": (
        "mobilenet_v2",
        {"blocks": ((1, 16, 1, 1), (6, 32, 2, 2)), "width_multiplier": 0.25},
        (16, 16, 3),
    ),
    "mobilenet_v3": (
        "mobilenet_v3_small",
        {
            "blocks": ((3, 16, 8, True, "RE", 2), (5, 24, 8, True, "HS", 1)),
            "last_width": 16,
        },
        (16, 16, 3),
    ),
    "regnet": ("regnet_y_400mf", {"depth": 2, "w_0": 8, "w_a": 8.0, "w_m": 2.0}, (16, 16, 3)),
    "resnet": (
        "resnet50",
        {"stage_sizes": (1, 1), "width": 8, "cardinality": 2},
        (32, 32, 3),
    ),
    "resnet_cifar": ("resnet20", {"depth": 8, "width": 4}, (16, 16, 3)),
    "senet": (
        "legacy_seresnet50",
        {"stage_sizes": (1, 1), "width": 8, "reduction": 4},
        (32, 32, 3),
    ),
    "shufflenet_v2": (
        "shufflenet_v2_x1_0",
        {"repeats": (2,), "widths": (8, 16, 32)},
        (32, 32, 3),
    ),
    "squeezenet": ("squeezenet1_1", {"stem": (8, 3), "fires": (2, 0, 2)}, (32, 32, 3)),
    "swin": (
        "swin_t",
        {"embed_dim": 8, "depths": (1, 1), "num_heads": (2, 4), "window_size": 2},
        (24, 20, 3),
    ),
    "vgg": ("vgg11_bn", {"depths": (1, 1), "widths": (4, 8), "hidden": 16}, (16, 16, 3)),
    "vit": (
        "vit_b_16",
        {
            **{"patch_size": 8, "depth": 2, "hidden_size": 16, "mlp_size": 32, "heads": 2},
            "image_size": 32,
        },
        (32, 24, 3),
    ),
    "xception": (
        "legacy_xception",
        {"blocks": (((8, 8), 2), ((8, 8, 8), 1)), "widths": (4, 8, 16, 16)},
        (32, 32, 3),
    ),
}


def network(file, **overrides):
    """(model, two images) of a file."""
    name, options, shape = SMALL[file]
    model = models.create(name, num_classes=CLASSES, **options, **overrides)
    image = np.random.default_rng(0).uniform(-1, 1, (2, *shape))
    return model, jnp.asarray(image, jnp.float32)


def random_variables(model, image, seed=0):
    """Values under which activations stay alive, made without compiling `init`."""
    random = np.random.default_rng(seed)

    def draw(path, leaf):
        low, high = (0.5, 1.0) if path[-1].key in ("scale", "var") else (-0.2, 0.2)
        if leaf.ndim > 1:
            high = (6 / np.prod(leaf.shape[:-1])) ** 0.5
            low = -high
        return random.uniform(low, high, leaf.shape).astype(np.float32)

    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    return jax.tree_util.tree_map_with_path(draw, shapes)
