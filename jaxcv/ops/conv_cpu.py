"""The three products of `conv_primitives` in the forms that are fastest on a CPU.

XLA's own convolution is good at the forward and image products of ordinary kernels. Its gradients
of kernels, its grouped and its depthwise convolutions are slower than the forms below, some a
hundred times (`python -m benchmarks.convolutions`, with and without --xla). The geometry chooses:

    depthwise    sums of shifted products
    grouped      a few groups at a time as an ordinary convolution
    linear, 1x1  a matrix product; (kernel product) sums of such over some rows at a time
    strided      (image product) an ordinary convolution that gives all phases as channels
    ordinary     (kernel product) matrix products over a few rows, or a few images, at a time
"""

import functools

import jax.numpy as jnp
from jax import lax

from jaxcv.ops import conv_plain, fusion
from jaxcv.ops.blocks import largest_divisor
from jaxcv.ops.linear_map import zeros_alike

_MOST_TAPS = 49  # of a window that is unrolled: 7x7
_GROUPED_CHANNELS = 16  # of the groups that are convolved together
_DEPTHWISE_ROWS = 4  # of the output, for one step of a depthwise kernel's gradient
_BLOCK_PIXELS = 512  # of the output, for one matrix product of a kernel's gradient


def forward(x, w, geometry):
    """The convolution: [B, *size, C] and [*window, C / groups, D] -> [B, *counts, D]."""
    match _kind(x, w.shape, geometry):
        case "depthwise":
            return _depthwise(x, w, geometry)
        case "grouped":
            return _by_groups(forward, x, w, geometry)
        case "1x1":
            return lax.dot_general(_strided(x, geometry), w[0, 0], (((3,), (0,)), ((), ())))
        case _:
            return conv_plain.forward(x, w, geometry)


def image_gradient(y, w, geometry):
    """Its transpose in the image: [B, *counts, D] and [*window, C / groups, D] -> [B, *size, C]."""
    match _kind(y, w.shape, geometry):
        case "depthwise":
            return _depthwise_image(y, w, geometry)
        case "grouped":
            return _by_groups(image_gradient, y, w, geometry)
        case "1x1":
            product = lax.dot_general(y, w[0, 0], (((3,), (1,)), ((), ())))
            product = _spread(product, geometry)
            rest = [(0, size - n) for size, n in zip(geometry.size, product.shape[1:])]
            return _pad(product, rest)
        case "ordinary" if _even_phases(geometry):
            return _phases(y, w, geometry)
        case _:
            return conv_plain.image_gradient(y, w, geometry)


def kernel_gradient(x, y, geometry):
    """Its transpose in the kernel: [B, *size, C], [B, *counts, D] -> [*window, C / groups, D]."""
    shape = (*geometry.window, x.shape[-1] // geometry.groups, y.shape[-1])
    match _kind(x, shape, geometry):
        case "depthwise":
            return _depthwise_kernel(x, y, geometry)
        case "grouped":
            return _kernel_by_groups(x, y, geometry)
        case "linear":
            return _linear_kernel(x, y)
        case "1x1":
            x, y = (a.reshape(-1, a.shape[-1]) for a in (_strided(x, geometry), y))
            return _linear_kernel(x, y)[None, None]
        case "ordinary" if _taps(geometry) <= _MOST_TAPS:
            return _kernel_by_rows(x, y, geometry)
        case _:
            return conv_plain.kernel_gradient(x, y, geometry)


def _kind(array, kernel_shape, geometry):
    """Which form serves: a name of the list above, or "" for XLA's own."""
    height_width, (inner, outer) = kernel_shape[:-2], kernel_shape[-2:]
    # Half precision would be summed in half precision; of no images there are no rows to loop over.
    if array.dtype not in (jnp.float32, jnp.float64) or not array.size:
        return ""
    if not height_width:
        return "linear"
    if len(height_width) != 2:
        return ""
    if geometry.groups > 1 and (inner, outer) == (1, geometry.groups):
        return "depthwise" if _taps(geometry) <= _MOST_TAPS else ""
    if geometry.groups > 1:
        return "grouped"
    if height_width == (1, 1) and geometry.padding == ((0, 0), (0, 0)):
        return "1x1"
    return "ordinary"


def _taps(geometry):
    return geometry.window[0] * geometry.window[1]


def _linear_kernel(x, y):
    """[N, C], [N, D] -> [C, D], some rows at a time; XLA would first copy all of a transpose."""
    if x.shape[1] > y.shape[1]:
        return _linear_kernel(y, x).T  # the transposed factor is the narrow one, as below

    def add(block, total):
        block = block * _BLOCK_PIXELS
        a, b = (lax.dynamic_slice_in_dim(v, block, _BLOCK_PIXELS) for v in (x, y))
        return total + a.T @ b

    blocks = len(x) // _BLOCK_PIXELS
    rest = x[blocks * _BLOCK_PIXELS :].T @ y[blocks * _BLOCK_PIXELS :]
    return lax.fori_loop(0, blocks, add, rest) if blocks else rest


def _depthwise(x, w, geometry):
    counts = _counts(geometry)
    # As for the kernel's gradient, so that one padded image serves both.
    padded = _pad(x, _needed(geometry, counts))

    def total(padded, w):
        taps = [_seen(padded, tap, counts, geometry) * w[tap] for tap in _places(geometry)]
        return functools.reduce(jnp.add, taps)

    return fusion.apart(total, padded, w)


def _depthwise_image(y, w, geometry):
    """y, spread out by the strides, convolved with the kernel turned round."""
    y = _spread(y, geometry)
    padding = []
    for size, (low, _), extent, seen in zip(
        geometry.size, geometry.padding, _extents(geometry), y.shape[1:]
    ):
        low = extent - 1 - low
        padding.append((low, size + extent - 1 - low - seen))
    turned = geometry._replace(size=y.shape[1:3], strides=(1, 1), padding=tuple(padding))
    return _depthwise(y, w[::-1, ::-1], turned)


def _depthwise_kernel(x, y, geometry):
    """Rows of the output in turn, the products summed where they are, over columns at the end."""
    batch, height, width, channels = y.shape
    rows, columns = geometry.window
    x = _pad(x, _needed(geometry, (height, width)))
    extent = _extents(geometry)[0]
    # Each row a slice of its own: of one slice of them all jax 0.10 makes a loop 15 times slower.
    at_once = largest_divisor(batch * height, _DEPTHWISE_ROWS)

    def add(step, sums):
        for number in range(at_once):
            image, top = jnp.divmod(step * at_once + number, height)
            start = (image, top * geometry.strides[0], 0, 0)
            seen = lax.dynamic_slice(x, start, (1, extent, *x.shape[2:]))[0]
            seen = seen[:: geometry.dilation[0]]
            row = lax.dynamic_slice(y, (image, top, 0, 0), (1, 1, width, channels))[0]
            sums = [
                total + seen[:, j * geometry.dilation[1] :: geometry.strides[1]][:, :width] * row
                for j, total in enumerate(sums)
            ]
        return sums

    sums = [zeros_alike((rows, width, channels), x)] * columns
    sums = lax.fori_loop(0, batch * height // at_once, add, sums)
    return jnp.stack([total.sum(1) for total in sums], 1)[:, :, None]


def _by_groups(product, array, w, geometry):
    """An image product, some groups at a time, by kernels that are zero between groups."""
    together = _groups_together(w.shape[-2], geometry)
    parts = geometry.groups // together
    *window, inner, outer = w.shape
    outer //= geometry.groups
    w = w.reshape(*window, inner, parts, together, outer)
    joined = jnp.einsum("hwcpgd,kg->phwkcgd", w, jnp.eye(together, dtype=w.dtype))
    joined = joined.reshape(parts, *window, together * inner, together * outer)
    geometry = geometry._replace(groups=1)
    arrays = jnp.split(array, parts, axis=-1)
    return jnp.concatenate([product(a, k, geometry) for a, k in zip(arrays, joined)], axis=-1)


def _kernel_by_groups(x, y, geometry):
    """The kernels of `_by_groups`, of which those within a group are kept."""
    inner, outer = x.shape[-1] // geometry.groups, y.shape[-1] // geometry.groups
    together = _groups_together(inner, geometry)
    parts = geometry.groups // together

    def part(x, y):
        joined = kernel_gradient(x, y, geometry._replace(groups=1))
        joined = joined.reshape(*geometry.window, together, inner, together, outer)
        kept = jnp.einsum("hwgcgd->hwcgd", joined)
        return kept.reshape(*geometry.window, inner, together * outer)

    pairs = zip(jnp.split(x, parts, axis=-1), jnp.split(y, parts, axis=-1))
    return jnp.concatenate([part(*pair) for pair in pairs], axis=-1)


def _groups_together(inner, geometry):
    """How many groups are convolved as one."""
    return largest_divisor(geometry.groups, _GROUPED_CHANNELS // inner)


def _even_phases(geometry):
    """Whether the output's pixels at each place within a stride see as many taps."""
    return max(geometry.strides) > 1 and all(
        window % stride == 0 and dilation == 1
        for window, stride, dilation in zip(geometry.window, geometry.strides, geometry.dilation)
    )


def _phases(y, w, geometry):
    """One convolution whose channels are the pixels of a stride, which are then put in place."""
    down, right = geometry.strides
    rows, columns = geometry.window[0] // down, geometry.window[1] // right
    channels, features = w.shape[2:]
    w = w.reshape(rows, down, columns, right, channels, features)[::-1, :, ::-1]
    w = w.transpose(0, 2, 5, 1, 3, 4).reshape(rows, columns, features, down * right * channels)
    full = geometry._replace(
        window=(rows, columns),
        strides=(1, 1),
        padding=((rows - 1, rows - 1), (columns - 1, columns - 1)),
    )
    x = conv_plain.forward(y, w, full)
    batch, height, width = x.shape[:3]
    x = x.reshape(batch, height, width, down, right, channels).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(batch, height * down, width * right, channels)
    cut = [
        (-low, size + low - whole)
        for (low, _), size, whole in zip(geometry.padding, geometry.size, x.shape[1:])
    ]
    return _pad(x, cut)


def _kernel_by_rows(x, y, geometry):
    """Some rows or some images at a time: their pixels' windows side by side, times the output."""
    batch, height, width, features = y.shape
    rows = largest_divisor(height, _BLOCK_PIXELS // width)
    images = largest_divisor(batch, _BLOCK_PIXELS // (height * width)) if rows == height else 1
    x = _pad(x, _needed(geometry, (height, width)))
    channels = x.shape[-1]
    taken = (rows - 1) * geometry.strides[0] + _extents(geometry)[0]
    wide = _taps(geometry) * channels
    # A product whose transposed factor is the narrow one runs twice as fast as the other.
    first = features <= wide
    blocks = height // rows

    def add(number, total):
        image, block = number // blocks * images, number % blocks
        start = (image, block * rows * geometry.strides[0], 0, 0)
        seen = lax.dynamic_slice(x, start, (images, taken, *x.shape[2:]))
        taps = [_seen(seen, tap, (rows, width), geometry) for tap in _places(geometry)]
        windows = jnp.concatenate(taps, axis=-1).reshape(-1, wide)
        pixels = lax.dynamic_slice(y, (image, block * rows, 0, 0), (images, rows, width, features))
        pixels = pixels.reshape(-1, features)
        return total + (pixels.T @ windows if first else windows.T @ pixels)

    total = zeros_alike((features, wide) if first else (wide, features), x)
    total = lax.fori_loop(0, batch // images * blocks, add, total)
    return (total.T if first else total).reshape(*geometry.window, channels, features)


def _places(geometry):
    """The window's taps as (row, column)."""
    return [(i, j) for i in range(geometry.window[0]) for j in range(geometry.window[1])]


def _extents(geometry):
    """Pixels that the dilated window covers along each axis."""
    return [d * (k - 1) + 1 for d, k in zip(geometry.dilation, geometry.window)]


def _needed(geometry, counts):
    """The padding with which the last window ends at the last pixel; negative: what it leaves."""
    return [
        (low, (count - 1) * stride + extent - size - low)
        for count, stride, extent, size, (low, _) in zip(
            counts, geometry.strides, _extents(geometry), geometry.size, geometry.padding
        )
    ]


def _seen(x, tap, counts, geometry):
    """What the windows see at the tap (row, column): [B, *counts, C]."""
    start = [place * dilation for place, dilation in zip(tap, geometry.dilation)]
    stop = [
        first + (count - 1) * stride + 1
        for first, count, stride in zip(start, counts, geometry.strides)
    ]
    return lax.slice(x, (0, *start, 0), (x.shape[0], *stop, x.shape[3]), (1, *geometry.strides, 1))


def _counts(geometry):
    """How many windows there are along each axis."""
    return [
        (low + size + high - extent) // stride + 1
        for size, (low, high), extent, stride in zip(
            geometry.size, geometry.padding, _extents(geometry), geometry.strides
        )
    ]


def _spread(y, geometry):
    """Zeros between the pixels, as many as the strides leave out."""
    spread = [(0, 0, 0), *((0, 0, stride - 1) for stride in geometry.strides), (0, 0, 0)]
    return lax.pad(y, jnp.zeros((), y.dtype), spread)


def _strided(x, geometry):
    return x[:, :: geometry.strides[0], :: geometry.strides[1]]


def _pad(x, padding):
    """Zeros around the image; negative: pixels cut off."""
    return lax.pad(
        x,
        jnp.zeros((), x.dtype),
        ((0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0)),
    )
