"""Two examples in one: mixup and CutMix, whose targets are shares of two classes.

An example's partner is its neighbour in the batch: of places 0 and 1 each is the other's, of 2 and
3, and so on. A device that holds an even number of examples holds all their partners, so the pairs
do not depend on how many devices there are.
"""

import jax
import jax.numpy as jnp

from jaxcv.data.augment import check


def create_mixing(config, *, num_classes):
    """Function (keys [B], batch) -> batch that mixes every example with its neighbour.

    Args:
        config: an object with the attributes `mixup` and `cutmix`, the parameters alpha of the two,
            0 for none. With both on, each example gets one of them, either with probability 1/2.
        num_classes: K.

    Returns:
        A function for the training step, behind the augmentation of single examples: keys are
        typed, batch holds `image` [B, H, W, C] float and `label` [B], B even; `target` [B, K]
        float32, probabilities, is added. With both off the batch comes back as it is.

    Raises:
        ValueError: a field below 0; in a call, an odd batch.
    """
    for name in ("mixup", "cutmix"):
        check.check_within(f"config.augment.{name}", getattr(config, name), 0)

    def mix(keys, batch):
        if not mixes(config):
            return batch
        image, label = batch["image"], batch["label"]
        if len(image) % 2:
            raise ValueError(
                f"config.augment.mixup and cutmix pair the examples of a device, got {len(image)}."
                " Choose a batch_size that is a multiple of 2 x devices x accumulate."
            )
        partner = jnp.arange(len(image)) ^ 1
        mixed, share = jax.vmap(lambda *pair: _mix_one(*pair, config))(keys, image, image[partner])
        own = jax.nn.one_hot(label, num_classes)
        target = share[:, None] * own + (1 - share)[:, None] * own[partner]
        return {**batch, "image": mixed, "target": target}

    return mix


def mixes(config):
    """Whether `create_mixing` changes anything."""
    return bool(config.mixup or config.cutmix)


def mixup(key, image, other, *, alpha):
    """Weighted mean of two images [H, W, C], and the first one's share [] of the target.

    Args:
        key: typed PRNG key.
        image, other: of one shape, float.
        alpha: above 0; the share is drawn from Beta(alpha, alpha).

    Source: Zhang et al., "mixup: beyond empirical risk minimization", 2018.
    """
    share = jax.random.beta(key, alpha, alpha)
    return _blend(image, other, share)


def cutmix(key, image, other, *, alpha):
    """An image with a box [H, W, C] of another, and the part [] of the area that is its own.

    Args:
        key: typed PRNG key.
        image, other: of one shape, float.
        alpha: above 0; the part before the box is cut off at the border is from Beta(alpha, alpha).

    Source: Yun et al., "CutMix: regularization strategy to train strong classifiers with
    localizable features", 2019; whole pixels as torchvision's.
    """
    share_key, place_key = jax.random.split(key)
    return _paste(place_key, image, other, jax.random.beta(share_key, alpha, alpha))


def _mix_one(key, image, other, config):
    """Either of the two with probability 1/2, or the one that is on."""
    share_key, place_key, coin_key = jax.random.split(key, 3)
    blends = jax.random.bernoulli(coin_key) if config.mixup and config.cutmix else config.mixup > 0
    # One draw for both: the loop that Beta takes is long to compile.
    alpha = jnp.where(blends, config.mixup, config.cutmix)
    share = jax.random.beta(share_key, alpha, alpha)
    blended, pasted = _blend(image, other, share), _paste(place_key, image, other, share)
    return jax.tree.map(lambda a, b: jnp.where(blends, a, b), blended, pasted)


def _blend(image, other, share):
    return (share * image + (1 - share) * other).astype(image.dtype), share


def _paste(key, image, other, share):
    """The image with a box of about 1 - share of the area, and what is left of the area exactly."""
    height, width = image.shape[:2]
    size = jnp.array([height, width])
    half = (jnp.sqrt(1 - share) * size / 2).astype(jnp.int32)
    centre = jax.random.randint(key, (2,), 0, size)
    low, high = jnp.maximum(centre - half, 0), jnp.minimum(centre + half, size)
    places = jnp.stack(jnp.indices((height, width)), axis=-1)
    within = ((places >= low) & (places < high)).all(-1, keepdims=True)  # [H, W, 1]
    return jnp.where(within, other, image), 1 - jnp.prod(high - low) / (height * width)
