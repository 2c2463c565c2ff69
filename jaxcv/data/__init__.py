"""Data: sources of examples, read by index, and the batches that a run makes of them.

`create` turns a config into a run's batches, `open_split` into one split, for a notebook. The
modules `images` (files to arrays), `augment` (arrays to arrays, on the device) and the sources
`digits`, `digit_scenes`, `folder` and `tfds` are of use by themselves.
"""

from jaxcv.data.creation import Data, create, open_split
from jaxcv.data.source import Source

__all__ = ["Data", "Source", "create", "open_split"]
