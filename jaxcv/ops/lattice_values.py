"""Moving values over a permutohedral lattice: splat, blur, slice.

Values are [features or points, labels]. On a CPU each stage is a computation of its own (`apart`):
left alone, XLA fuses one into the gathers of the next and computes it once for each of them.
"""

import jax

from jaxcv.ops.fusion import apart


def splat(lattice, weights, values):
    """From features to lattice points: [N, L] -> [M + 1, L]."""
    sums = apart(taps, values, lattice.row_features, weights.rows)
    return jax.ops.segment_sum(
        sums, lattice.row_points, lattice.max_points + 1, indices_are_sorted=True
    )


def blur(lattice, values, *, reverse=False):
    """[M + 1, L] -> [M + 1, L]: (1/2, 1, 1/2) along one axis after the other.

    The axes do not commute where the lattice ends: the transpose goes through them in reverse.
    """

    def along_axis(values, sides):
        return values + 0.5 * (values[sides[0]] + values[sides[1]]), None

    # A loop, so that the axes are not fused.
    return jax.lax.scan(along_axis, values, lattice.neighbours, reverse=reverse)[0]


def slice_points(lattice, weights, values):
    """From lattice points to features: [M + 1, L] -> [N, L]."""
    return taps(values, lattice.corners, weights.corners)


def taps(values, places, weights):
    """sum over k of weights[:, k] values[places[:, k]]: [P, L], [Q, K], [Q, K] -> [Q, L]."""
    # Terms of one expression: as one gather and a reduction it takes six times as long on a CPU.
    terms = [
        values.at[places[:, k]].get(mode="promise_in_bounds") * weights[:, k, None]
        for k in range(places.shape[1])
    ]
    return sum(terms)
