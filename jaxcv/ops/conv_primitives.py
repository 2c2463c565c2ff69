"""The three products of a convolution as JAX primitives, each the transpose of the other two.

A convolution y = F(x, w) is linear in the image and in the kernel, and so are its gradients
x = I(y, w) and w = K(x, y). Stated as primitives they have derivatives of every order in both
modes, and each platform computes each in its own way. A transposed convolution is I.
"""

import functools

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxcv.ops import conv_cpu, conv_plain, fusion, linear_map


def forward(x, w, geometry):
    """The convolution: [B, *size, C] and [*window, C / groups, D] -> [B, *counts, D]."""
    return _forward_p.bind(*linear_map.varying_alike((x, w)), geometry=geometry)


def image_gradient(y, w, geometry):
    """Its transpose in the image: [B, *counts, D] and [*window, C / groups, D] -> [B, *size, C]."""
    return _image_p.bind(*linear_map.varying_alike((y, w)), geometry=geometry)


def kernel_gradient(x, y, geometry):
    """Its transpose in the kernel: [B, *size, C], [B, *counts, D] -> [*window, C / groups, D]."""
    return _kernel_p.bind(*linear_map.varying_alike((x, y)), geometry=geometry)


def _primitive(name, plain, cpu):
    """A bilinear primitive that `plain` computes, on a CPU `cpu`."""
    primitive = Primitive(f"conv_{name}")
    primitive.def_impl(jax.jit(functools.partial(_alone, plain, cpu), static_argnames="geometry"))
    primitive.def_abstract_eval(functools.partial(_abstract, plain))
    mlir.register_lowering(primitive, _lowering(plain))
    mlir.register_lowering(primitive, _lowering(cpu), platform="cpu")
    batching.primitive_batchers[primitive] = functools.partial(_batched, primitive, plain)
    return primitive


def _alone(plain, cpu, a, b, *, geometry):
    """As where it is called outside of a trace."""
    on_cpu, elsewhere = (
        functools.partial(_precisely, product, geometry=geometry) for product in (cpu, plain)
    )
    return jax.lax.platform_dependent(a, b, cpu=on_cpu, default=elsewhere)


def _abstract(product, a, b, *, geometry):
    shape = jax.eval_shape(functools.partial(product, geometry=geometry), a, b)
    if fusion.is_sharded_type(a):
        return jax.core.ShapedArray(shape.shape, shape.dtype)
    return linear_map.typed_alike(a, shape.shape)


def _lowering(product):
    return mlir.lower_fun(functools.partial(_precisely, product), multiple_results=False)


def _precisely(product, a, b, *, geometry):
    with jax.default_matmul_precision(geometry.precision):
        return product(a, b, geometry)


def _batched(primitive, plain, arguments, axes, *, geometry):
    """`vmap`: over images alone one larger batch, else on a CPU one after the other.

    (XLA's form of many kernels is a grouped convolution, on a CPU its slowest; without spatial axes
    it is a product.)
    """
    mapped = [axis is not None for axis in axes]
    arguments = [
        a if axis is None else jax.numpy.moveaxis(a, axis, 0) for a, axis in zip(arguments, axes)
    ]
    if mapped == [True, False] and primitive is not _kernel_p:
        images, kernel = arguments
        output = primitive.bind(images.reshape(-1, *images.shape[2:]), kernel, geometry=geometry)
        return output.reshape(*images.shape[:2], *output.shape[1:]), 0

    def in_turn(*arguments):
        items = [a for a, is_mapped in zip(arguments, mapped) if is_mapped]

        def one(items):
            items = iter(items)
            both = [next(items) if m else a for a, m in zip(arguments, mapped)]
            return primitive.bind(*both, geometry=geometry)

        return jax.lax.map(one, items)

    at_once = jax.vmap(
        functools.partial(_precisely, plain, geometry=geometry),
        in_axes=tuple(0 if m else None for m in mapped),
    )
    if not geometry.window:
        return at_once(*arguments), 0
    return jax.lax.platform_dependent(*arguments, cpu=in_turn, default=at_once), 0


_forward_p = _primitive("forward", conv_plain.forward, conv_cpu.forward)
_image_p = _primitive("image_gradient", conv_plain.image_gradient, conv_cpu.image_gradient)
_kernel_p = _primitive("kernel_gradient", conv_plain.kernel_gradient, conv_cpu.kernel_gradient)

# The transposes in the first and in the second argument, of which each in turn is undefined.
ad.defbilinear(
    _forward_p,
    lambda y, _, w, geometry: image_gradient(y, w, geometry),
    lambda y, x, _, geometry: kernel_gradient(x, y, geometry),
)
ad.defbilinear(
    _image_p,
    lambda x, _, w, geometry: forward(x, w, geometry),
    lambda x, y, _, geometry: kernel_gradient(x, y, geometry),
)
ad.defbilinear(
    _kernel_p,
    lambda w, _, y, geometry: image_gradient(y, w, geometry),
    lambda w, x, _, geometry: forward(x, w, geometry),
)
