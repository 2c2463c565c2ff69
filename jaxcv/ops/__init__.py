"""Functions of arrays: no parameters, no Flax.

An op takes one item and callers `vmap`, except convolution and pooling, which take a batch.
"""

from jaxcv.ops.conv import conv, conv_transpose
from jaxcv.ops.normalize import local_response_norm, normalize
from jaxcv.ops.pool import adaptive_avg_pool, avg_pool, max_pool

__all__ = [
    "adaptive_avg_pool",
    "avg_pool",
    "conv",
    "conv_transpose",
    "local_response_norm",
    "max_pool",
    "normalize",
]
