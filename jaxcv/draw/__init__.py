"""Pictures from arrays: what a person looks at, uint8 [H, W, 3]. Pillow draws, matplotlib plots
curves; both are imported on first use and neither needs a display.

Images are uint8 or float 0..1, [H, W, 1] or [H, W, 3]. To see small ones, `enlarge` them first and
give what is drawn over them the same factor as `scale`.
"""

from jaxcv.draw.charts import bars, confusion_matrix, curves
from jaxcv.draw.overlays import boxes, heat, keypoints, masks, segments
from jaxcv.draw.picture import enlarge, save
from jaxcv.draw.sheet import grid

__all__ = [
    "bars",
    "boxes",
    "confusion_matrix",
    "curves",
    "enlarge",
    "grid",
    "heat",
    "keypoints",
    "masks",
    "save",
    "segments",
]
