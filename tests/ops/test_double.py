"""Every op with double precision switched on, in which Python's ints are 64 bits wide."""

import inspect

import jax
import numpy as np
import pytest

from jaxcv import ops

ARRAYS = {
    "image": np.linspace(0, 1, 4 * 4 * 4).reshape(4, 4, 4),
    "boxes": np.array([[0.0, 0, 3, 2], [1, 1, 2.5, 3]]),
    "scores": np.array([0.9, 0.8]),
    "vectors": np.linspace(-1, 1, 4 * 4 * 2).reshape(4, 4, 2),
    "masks": np.ones((2, 3, 3)),
    "kernel": np.ones((2, 2, 4, 4)),
    "sizes": np.array([[1.0, 2], [3, 1], [2, 2]]),
    "labels": np.array([0, 1]),
}
CRF = [ops.Gaussian(2.0, 1.0), ops.Bilateral(2.0, 0.5, 1.0)]


def pooled(image):
    return ops.max_pool_with_argmax(image[None], window=2)


def svm(vectors, labels):
    return ops.linear_svm(vectors[:2, 0], labels, num_classes=2)


CALLS = {
    "adaptive_avg_pool": lambda image: ops.adaptive_avg_pool(image[None], output_size=3),
    "adaptive_max_pool": lambda image: ops.adaptive_max_pool(image[None], output_size=3),
    "affine_grid": lambda vectors: ops.affine_grid(vectors[:2, :3, 0], (2, 3)),
    "avg_pool": lambda image: ops.avg_pool(image[None], window=2),
    "batch_norm": lambda image: ops.batch_norm(image[None]),
    "batched_nms": lambda boxes, scores, labels: ops.batched_nms(boxes, scores, labels, 0.5),
    "bilateral_features": lambda image: ops.bilateral_features(image, sigma=2.0, sigma_color=0.5),
    "bilinear_kernel": lambda: ops.bilinear_kernel(2, 1),
    "box_area": lambda boxes: ops.box_area(boxes),
    "box_convert": lambda boxes: ops.box_convert(boxes, in_fmt="xyxy", out_fmt="xywh"),
    "box_iou": lambda boxes: ops.box_iou(boxes, boxes),
    "build_terms": lambda image: ops.build_terms(image[..., :3], CRF, max_points=64),
    "cell_anchors": lambda: ops.cell_anchors(sizes=(2,), aspect_ratios=(1, 2)),
    "clip_boxes": lambda boxes: ops.clip_boxes(boxes, size=(2, 2)),
    "complete_box_iou": lambda boxes: ops.complete_box_iou(boxes, boxes),
    "conv": lambda image, kernel: ops.conv(image[None], kernel),
    "conv_transpose": lambda image, kernel: ops.conv_transpose(image[None], kernel),
    "crop_and_resize": lambda image, boxes: ops.crop_and_resize(image, boxes, 2),
    "decode_boxes": lambda boxes: ops.decode_boxes(boxes, boxes),
    "default_boxes": lambda: ops.default_boxes(
        image_size=(8, 8), grid_sizes=[(2, 2)], scales=(0.5, 1), aspect_ratios=[(2,)]
    ),
    "default_scales": lambda: ops.default_scales(levels=2),
    "deform_conv2d": lambda image, vectors, kernel: ops.deform_conv2d(
        image, vectors, kernel[:1, :1]
    ),
    "dense_crf": lambda image: ops.dense_crf(
        image, image[..., :3], CRF, iterations=1, max_points=64
    ),
    "displacement_field": lambda: ops.displacement_field(jax.random.key(0), (4, 4)),
    "distance_box_iou": lambda boxes: ops.distance_box_iou(boxes, boxes),
    "distance_transform": lambda image: ops.distance_transform(image[..., 0] > 0.5),
    "encode_boxes": lambda boxes: ops.encode_boxes(boxes, boxes),
    "exact_kernel": lambda sizes: ops.exact_kernel(sizes),
    "gaussian_filter": lambda sizes: ops.gaussian_filter(
        sizes, ops.lattice_kernel(sizes, max_points=64)
    ),
    "generalized_box_iou": lambda boxes: ops.generalized_box_iou(boxes, boxes),
    "grid_anchors": lambda boxes: ops.grid_anchors(boxes, grid_size=2, stride=4),
    "group_norm": lambda image: ops.group_norm(image[None], 2),
    "grid_sample": lambda image, vectors: ops.grid_sample(
        image, vectors, mode="bicubic", padding_mode="reflection"
    ),
    "interpolate_displacement": lambda vectors: ops.interpolate_displacement(
        vectors, vectors, (4, 4)
    ),
    "kmeans_priors": lambda sizes: ops.kmeans_priors(jax.random.key(0), sizes, count=2),
    "lattice_kernel": lambda sizes: ops.lattice_kernel(sizes, max_points=64),
    "linear": lambda image, kernel: ops.linear(image, kernel[0, 0]),
    "linear_svm": svm,
    "linear_svm_objective": lambda vectors, labels: ops.linear_svm_objective(
        svm(vectors, labels), vectors[:2, 0], labels
    ),
    "local_response_norm": lambda image: ops.local_response_norm(image[None], size=3),
    "map_labels": lambda image: ops.map_labels(image),
    "mask_iou": lambda masks: ops.mask_iou(masks > 0, masks > 0),
    "masks_to_boxes": lambda masks: ops.masks_to_boxes(masks > 0),
    "match": lambda boxes: ops.match(
        boxes, high_threshold=0.7, low_threshold=0.3, allow_low_quality=True
    ),
    "max_pool": lambda image: ops.max_pool(image[None], window=2),
    "max_pool_with_argmax": pooled,
    "max_unpool": lambda image: ops.max_unpool(*pooled(image), output_size=(4, 4), window=2),
    "mean_field": lambda sizes: ops.mean_field(
        sizes, [ops.Pairwise(ops.exact_kernel(sizes), 1.0)], iterations=1
    ),
    "mean_field_divergence": lambda sizes: ops.mean_field_divergence(
        sizes, sizes / 9, [ops.Pairwise(ops.exact_kernel(sizes), 1.0)]
    ),
    "mean_field_history": lambda sizes: ops.mean_field_history(
        sizes, [ops.Pairwise(ops.exact_kernel(sizes), 1.0)], iterations=1
    ),
    "merge_boxes": lambda boxes, scores: ops.merge_boxes(boxes, scores),
    "multiscale_roi_align": lambda image, boxes: ops.multiscale_roi_align(
        [image, image[::2, ::2]], boxes, 2, spatial_scales=(1, 0.5)
    ),
    "nms": lambda boxes, scores: ops.nms(boxes, scores, 0.5),
    "normalize": lambda sizes: ops.normalize(sizes),
    "paired_box_iou": lambda boxes: ops.paired_box_iou(boxes, boxes),
    "paired_complete_box_iou": lambda boxes: ops.paired_complete_box_iou(boxes, boxes),
    "paired_distance_box_iou": lambda boxes: ops.paired_distance_box_iou(boxes, boxes),
    "paired_generalized_box_iou": lambda boxes: ops.paired_generalized_box_iou(boxes, boxes),
    "paste_masks": lambda masks, boxes: ops.paste_masks(masks, boxes, (4, 5)),
    "position_features": lambda: ops.position_features((3, 4), sigma=2.0),
    "prior_boxes": lambda sizes: ops.prior_boxes(sizes, grid_size=2, stride=4),
    "ps_roi_align": lambda image, boxes: ops.ps_roi_align(image, boxes, 2),
    "ps_roi_pool": lambda image, boxes: ops.ps_roi_pool(image, boxes, 2),
    "pyramid_anchors": lambda: ops.pyramid_anchors(
        image_size=(8, 8), grid_sizes=[(2, 2)], sizes=[(2,)], aspect_ratios=[(1,)]
    ),
    "remove_small_boxes": lambda boxes: ops.remove_small_boxes(boxes, min_size=2),
    "resize": lambda image: ops.resize(image, (3, 5)),
    "roi_align": lambda image, boxes: ops.roi_align(image, boxes, 2),
    "roi_pool": lambda image, boxes: ops.roi_pool(image, boxes, 2),
    "roi_warp": lambda image, boxes: ops.roi_warp(image, boxes, 2),
    "sample_balanced": lambda labels: ops.sample_balanced(
        jax.random.key(0), labels, size=2, positive_fraction=0.5
    ),
    "size_iou": lambda sizes: ops.size_iou(sizes, sizes),
    "soft_nms": lambda boxes, scores: ops.soft_nms(boxes, scores),
    "spatial_pyramid_pool": lambda image: ops.spatial_pyramid_pool(image, levels=(2, 1)),
    "ssd_match": lambda boxes: ops.ssd_match(boxes, threshold=0.5),
    "warp_disparity": lambda image: ops.warp_disparity(image, image[..., 0]),
    "warp_flow": lambda image, vectors: ops.warp_flow(image, vectors),
}


@pytest.mark.parametrize("name", sorted(n for n in ops.__all__ if n[0].islower()))
def test_an_op_is_traced_in_double_precision(name):
    call = CALLS[name]
    arrays = [ARRAYS[argument] for argument in inspect.signature(call).parameters]
    with jax.enable_x64(True):
        jax.jit(call).lower(*arrays)  # types clash here, not in XLA, which takes most of the time
