"""This host's batches on their way to its devices."""

import collections
import itertools

import jax

from jaxcv.train import state as states


def placed(batches, *, micro_batches, ahead=2):
    """Batches on the devices, `ahead` of them under way while the step computes.

    Args:
        batches: iterable of dicts of NumPy arrays [A * D * m, ...], in the order [A, D, m]: A
            micro-batches, D devices of this host.
        micro_batches: A.
        ahead: how many are placed before they are asked for.

    Yields:
        The dicts with leaves [devices of all hosts, A, m, ...].
    """
    devices = jax.local_device_count()

    def cut(leaf):
        return leaf.reshape(micro_batches, devices, -1, *leaf.shape[1:]).swapaxes(0, 1)

    stream = (states.shard(jax.tree.map(cut, batch)) for batch in batches)
    waiting = collections.deque(itertools.islice(stream, ahead))
    while waiting:
        batch = waiting.popleft()
        waiting.extend(itertools.islice(stream, 1))
        yield batch
