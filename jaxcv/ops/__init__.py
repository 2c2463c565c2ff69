"""Functions of arrays: no parameters, no Flax.

An op takes one item and callers `vmap`, except convolution, linear maps, pooling and normalisation
by statistics, which take a batch.
"""

from jaxcv.ops.anchors import (
    cell_anchors,
    default_boxes,
    default_scales,
    grid_anchors,
    kmeans_priors,
    prior_boxes,
    pyramid_anchors,
    size_iou,
)
from jaxcv.ops.box_coder import decode_boxes, encode_boxes
from jaxcv.ops.boxes import (
    box_area,
    box_convert,
    box_iou,
    clip_boxes,
    complete_box_iou,
    distance_box_iou,
    generalized_box_iou,
    paired_box_iou,
    paired_complete_box_iou,
    paired_distance_box_iou,
    paired_generalized_box_iou,
    remove_small_boxes,
)
from jaxcv.ops.conv import conv, conv_transpose, linear
from jaxcv.ops.crf import (
    Bilateral,
    Gaussian,
    Pairwise,
    build_terms,
    dense_crf,
    map_labels,
    mean_field,
    mean_field_divergence,
    mean_field_history,
)
from jaxcv.ops.deform import deform_conv2d
from jaxcv.ops.distance import distance_transform
from jaxcv.ops.gaussian_filter import (
    ExactKernel,
    LatticeKernel,
    bilateral_features,
    exact_kernel,
    gaussian_filter,
    lattice_kernel,
    position_features,
)
from jaxcv.ops.masks import mask_iou, masks_to_boxes
from jaxcv.ops.matching import match, sample_balanced, ssd_match
from jaxcv.ops.normalize import local_response_norm, normalize
from jaxcv.ops.norms import batch_norm, group_norm
from jaxcv.ops.paste import paste_masks
from jaxcv.ops.pool import (
    adaptive_avg_pool,
    adaptive_max_pool,
    avg_pool,
    max_pool,
    max_pool_with_argmax,
    max_unpool,
)
from jaxcv.ops.region_crop import crop_and_resize, roi_warp
from jaxcv.ops.region_max import roi_pool, spatial_pyramid_pool
from jaxcv.ops.regions import multiscale_roi_align, ps_roi_align, ps_roi_pool, roi_align
from jaxcv.ops.resize import bilinear_kernel, resize
from jaxcv.ops.sampling import (
    affine_grid,
    displacement_field,
    grid_sample,
    interpolate_displacement,
    warp_disparity,
    warp_flow,
)
from jaxcv.ops.suppression import batched_nms, merge_boxes, nms, soft_nms
from jaxcv.ops.svm import LinearSVM, linear_svm, linear_svm_objective

__all__ = [
    "Bilateral",
    "ExactKernel",
    "Gaussian",
    "LatticeKernel",
    "LinearSVM",
    "Pairwise",
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "affine_grid",
    "avg_pool",
    "batch_norm",
    "batched_nms",
    "bilateral_features",
    "bilinear_kernel",
    "box_area",
    "box_convert",
    "box_iou",
    "build_terms",
    "cell_anchors",
    "clip_boxes",
    "complete_box_iou",
    "conv",
    "conv_transpose",
    "crop_and_resize",
    "decode_boxes",
    "default_boxes",
    "default_scales",
    "deform_conv2d",
    "dense_crf",
    "displacement_field",
    "distance_box_iou",
    "distance_transform",
    "encode_boxes",
    "exact_kernel",
    "gaussian_filter",
    "generalized_box_iou",
    "grid_anchors",
    "grid_sample",
    "group_norm",
    "interpolate_displacement",
    "kmeans_priors",
    "lattice_kernel",
    "linear",
    "linear_svm",
    "linear_svm_objective",
    "local_response_norm",
    "map_labels",
    "mask_iou",
    "masks_to_boxes",
    "match",
    "max_pool",
    "max_pool_with_argmax",
    "max_unpool",
    "mean_field",
    "mean_field_divergence",
    "mean_field_history",
    "merge_boxes",
    "multiscale_roi_align",
    "nms",
    "normalize",
    "paired_box_iou",
    "paired_complete_box_iou",
    "paired_distance_box_iou",
    "paired_generalized_box_iou",
    "paste_masks",
    "position_features",
    "prior_boxes",
    "ps_roi_align",
    "ps_roi_pool",
    "pyramid_anchors",
    "remove_small_boxes",
    "resize",
    "roi_align",
    "roi_pool",
    "roi_warp",
    "sample_balanced",
    "size_iou",
    "soft_nms",
    "spatial_pyramid_pool",
    "ssd_match",
    "warp_disparity",
    "warp_flow",
]
