"""Linear maps as JAX primitives, each with a transpose of its own."""

import functools

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def primitive(name, function, shape, transpose, *, options=(), tangents=()):
    """Makes a primitive of `function(values, *others, **options)`, which is linear in its values.

    So it has derivatives of every order in both modes, and the transpose that it is given: JAX's
    own rules would transpose it operation by operation, into scatters and sums over padded images.

    Args:
        name: the primitive's.
        function: of the values and any other arrays; its result has the values' dtype.
        shape: of the result, from the shapes of the arrays and the options.
        transpose: from a result's cotangent, the other arrays and the options the values'
            cotangent.
        options: names of the options, which are hashable.
        tangents: for each of the other arrays the rule that takes its tangent and then what
            `function` takes, to the result's tangent; None for an array without tangents.

    Returns:
        What computes `function`.
    """
    made = Primitive(name)

    def over_items(function):
        """For arrays that have `mapped` axes of `vmap` in front."""

        def over(*arrays, mapped, **options):
            one = functools.partial(function, **options)
            for _ in range(mapped):
                one = jax.vmap(one)
            return one(*arrays)

        return over

    def bind(*arrays, **options):
        return made.bind(*varying_alike(arrays), mapped=0, **options)

    def abstract(values, *others, mapped, **options):
        shapes = [array.shape[mapped:] for array in (values, *others)]
        result = (*values.shape[:mapped], *shape(*shapes, **options))
        return typed_alike(values, result, mapped=mapped)

    def batched(arrays, axes, *, mapped, **options):
        count = next(a.shape[axis] for a, axis in zip(arrays, axes) if axis is not None)
        arrays = [
            jnp.broadcast_to(a, (count, *a.shape)) if axis is None else jnp.moveaxis(a, axis, 0)
            for a, axis in zip(arrays, axes)
        ]
        return made.bind(*arrays, mapped=mapped + 1, **options), 0

    def by_values(tangent, _, *others, **options):
        return made.bind(tangent, *others, **options)

    def transposed(cotangent, _, *others, **options):
        return [over_items(transpose)(cotangent, *others, **options), *(None for _ in others)]

    computed = over_items(function)
    made.def_impl(jax.jit(computed, static_argnames=("mapped", *options)))
    made.def_abstract_eval(abstract)
    mlir.register_lowering(made, mlir.lower_fun(computed, multiple_results=False))
    batching.primitive_batchers[made] = batched
    ad.deflinear2(made, transposed)
    ad.defjvp(made, by_values, *(rule and over_items(rule) for rule in tangents))
    return bind


def varying_alike(arrays):
    """Arrays such that in `jax.shard_map` all vary over the axes that any of them varies over.

    A primitive of several arrays takes its result's axes from one of them.
    """
    axes = [jax.typeof(array).manual_axis_type.varying for array in arrays]
    union = frozenset().union(*axes)
    return [
        jax.lax.pcast(array, tuple(union - own), to="varying") if union - own else array
        for array, own in zip(arrays, axes)
    ]


def zeros_alike(shape, like):
    """Zeros of the dtype of `like` that vary as it does over the axes of `jax.shard_map`."""
    return varying_alike([jnp.zeros(shape, like.dtype), like])[0]


def typed_alike(like, shape, *, mapped=0):
    """The type of an array of this shape that varies over the axes of `jax.shard_map` as `like`.

    On an explicit mesh its first `mapped` axes lie as those of `like`, the others nowhere.
    """
    spec = (*like.sharding.spec[:mapped], *(None for _ in shape[mapped:]))
    sharding = like.sharding.update(spec=jax.sharding.PartitionSpec(*spec))
    return like.update(shape=shape, weak_type=False, sharding=sharding)
