"""The peers of `benchmarks.ops`: torch's and torchvision's own operators.

`benchmarks.ops` runs this file in an interpreter that has torch, and asks it, one line of JSON at a
time on stdin: {"load": FILE, "function": NAME, "options": {...}}, {"time": CALLS} or
{"answer": FILE}. Each is answered by one line of JSON on stdout; an error by {"error": ...}.

A peer is a public function here: (*inputs as tensors, **options) -> the function to time.
"""

import functools
import inspect
import json
import sys
import time

import numpy as np
import peer_unet
import torch
import torchvision

# Suppression


def nms(boxes, scores, *, iou_threshold):
    return lambda: torchvision.ops.nms(boxes, scores, iou_threshold)


def nms_of_each(boxes, scores, *, iou_threshold, max_outputs):
    """[B, N, 4] and [B, N] -> B selections, cut to the best."""

    def run():
        return tuple(
            torchvision.ops.nms(b, s, iou_threshold)[:max_outputs] for b, s in zip(boxes, scores)
        )

    return run


# Boxes


def box_iou(boxes1, boxes2):
    return lambda: torchvision.ops.box_iou(boxes1, boxes2)


# Regions


def roi_align(features, boxes, *, sampling_ratio, gradient):
    """[H, W, C] and [N, 4] -> [N, 7, 7, C], and if asked the gradient of its sum by the map."""
    features = features.permute(2, 0, 1)[None].contiguous()
    align = functools.partial(
        torchvision.ops.roi_align, boxes=[boxes], output_size=7, sampling_ratio=sampling_ratio
    )
    return _with_gradient(lambda maps: align(*maps), [features], gradient)


def multiscale_roi_align(*arguments, image_size, gradient):
    """Maps [H, W, C], finest first, and [N, 4] -> as `roi_align`."""
    *maps, boxes = arguments
    maps = [features.permute(2, 0, 1)[None].contiguous() for features in maps]
    names = [str(i) for i in range(len(maps))]
    pooler = torchvision.ops.MultiScaleRoIAlign(names, 7, 2)
    call = lambda maps: pooler(dict(zip(names, maps)), [boxes], [tuple(image_size)])  # noqa: E731
    return _with_gradient(call, maps, gradient)


def paste_masks(masks, boxes, *, image_size):
    paste = torchvision.models.detection.roi_heads.paste_masks_in_image

    def run():
        return paste(masks[:, None], boxes, tuple(image_size))[:, 0]

    return run


def _with_gradient(function, maps, gradient):
    """A call of `function(maps)`, and of its backward pass if asked; answers with channels last."""
    ones = torch.ones_like(function(maps))
    for features in maps:
        features.requires_grad_(gradient)

    def run():
        output = function(maps)
        if not gradient:
            return output.permute(0, 2, 3, 1)
        gradients = torch.autograd.grad(output, maps, ones)
        return (output.permute(0, 2, 3, 1), *(g[0].permute(1, 2, 0) for g in gradients))

    return run


# Convolution, pooling and batch normalisation


def conv2d(image, kernel, cotangent=None, *, channels_last, **options):
    """[B, H, W, C], [h, w, C / groups, D] -> the output, or with a cotangent both gradients too."""
    kernel = _laid_out(kernel.permute(3, 2, 0, 1), channels_last)
    call = functools.partial(torch.nn.functional.conv2d, **options)
    return _convolution(call, image, kernel, (2, 3, 1, 0), cotangent, channels_last)


def conv_transpose2d(image, kernel, cotangent=None, *, channels_last, **options):
    """[B, H, W, C], [h, w, C, D] -> as `conv2d`."""
    kernel = _laid_out(kernel.permute(2, 3, 0, 1), channels_last)
    call = functools.partial(torch.nn.functional.conv_transpose2d, **options)
    return _convolution(call, image, kernel, (2, 3, 0, 1), cotangent, channels_last)


def max_pool2d(image, cotangent, *, channels_last, **options):
    """[B, H, W, C] -> the output and the gradient."""
    image = _laid_out(image.permute(0, 3, 1, 2), channels_last).requires_grad_()
    cotangent = _laid_out(cotangent.permute(0, 3, 1, 2), channels_last)

    def run():
        output = torch.nn.functional.max_pool2d(image, **options)
        (gradient,) = torch.autograd.grad(output, image, cotangent)
        return output.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)

    return run


def batch_norm(image, scale, bias, cotangent, *, channels_last):
    """[B, H, W, C], [C], [C] -> the output and the three gradients, by the batch's statistics."""
    image = _laid_out(image.permute(0, 3, 1, 2), channels_last)
    cotangent = _laid_out(cotangent.permute(0, 3, 1, 2), channels_last)
    inputs = [array.requires_grad_() for array in (image, scale, bias)]

    def run():
        output = torch.nn.functional.batch_norm(inputs[0], None, None, *inputs[1:], training=True)
        by_image, *others = torch.autograd.grad(output, inputs, cotangent)
        return output.permute(0, 2, 3, 1), by_image.permute(0, 2, 3, 1), *others

    return run


def _convolution(call, image, kernel, our_axes, cotangent, channels_last):
    image = _laid_out(image.permute(0, 3, 1, 2), channels_last)
    if cotangent is None:
        return lambda: call(image, kernel).permute(0, 2, 3, 1)
    cotangent = _laid_out(cotangent.permute(0, 3, 1, 2), channels_last)
    inputs = [image.requires_grad_(), kernel.requires_grad_()]

    def run():
        output = call(*inputs)
        by_image, by_kernel = torch.autograd.grad(output, inputs, cotangent)
        back = (0, 2, 3, 1)
        return output.permute(back), by_image.permute(back), by_kernel.permute(our_axes)

    return run


def _laid_out(array, channels_last):
    """[B, C, H, W] in one of torch's two layouts."""
    format = torch.channels_last if channels_last else torch.contiguous_format
    return array.contiguous(memory_format=format)


# Networks


def network(image, labels, *_, name, step, channels_last):
    """torchvision's: logits in evaluation, or the loss of a step of SGD with momentum."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).to(image.device)
    image = _laid_out(image.permute(0, 3, 1, 2), channels_last)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    if not step:
        model.eval()
        return torch.no_grad()(lambda: model(image))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    labels = labels.long()

    def run():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(image), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run


def unet_step(image, time, noise, *arrays, names, channels_last):
    """The U-Net of peer_unet.py: the loss of a step of SGD with momentum."""
    weights = peer_unet.torch_weights(dict(zip(names, arrays)), channels_last)
    for array in weights.values():
        array.requires_grad_()
    optimizer = torch.optim.SGD(weights.values(), lr=1e-3, momentum=0.9)
    model = peer_unet.UNet(weights)
    image, noise = (_laid_out(a.permute(0, 3, 1, 2), channels_last) for a in (image, noise))

    def run():
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(image, time), noise)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run


# Sampling


def _channels_first(array):
    """[..., H, W, C] -> [..., C, H, W], contiguous."""
    return torch.movedim(array, -1, -3).contiguous()


def _channels_last(array):
    return torch.movedim(array, -3, -1)


def grid_sample(image, grid, cotangent=None):
    image = _channels_first(image)
    if cotangent is None:
        sample = torch.nn.functional.grid_sample
        return lambda: _channels_last(sample(image, grid, align_corners=False))
    inputs, cotangent = [image.requires_grad_(), grid.requires_grad_()], _channels_first(cotangent)

    def run():
        output = torch.nn.functional.grid_sample(*inputs, align_corners=False)
        by_image, by_grid = torch.autograd.grad(output, inputs, cotangent)
        return _channels_last(by_image), by_grid

    return run


def interpolate(image, *, size, mode):
    image = _channels_first(image)
    return lambda: _channels_last(torch.nn.functional.interpolate(image, size=size, mode=mode))


def deform_conv2d(image, offset, kernel, mask, cotangent=None):
    maps = [_channels_first(array)[None] for array in (image, offset, mask)]
    inputs = [maps[0], maps[1], kernel.permute(3, 2, 0, 1).contiguous(), maps[2]]

    def run():
        image, offset, kernel, mask = inputs
        output = torchvision.ops.deform_conv2d(image, offset, kernel, padding=1, mask=mask)
        if cotangent is None:
            return _channels_last(output[0])
        image, offset, kernel, mask = torch.autograd.grad(output, inputs, cotangent)
        maps = (_channels_last(array[0]) for array in (image, offset, mask))
        return next(maps), next(maps), kernel.permute(2, 3, 1, 0), next(maps)

    if cotangent is not None:
        cotangent = _channels_first(cotangent)[None]
        inputs = [array.requires_grad_() for array in inputs]
    return run


def max_pool_with_argmax(image, *, unpool=False):
    image = _channels_first(image)

    def run():
        maxima, places = torch.nn.functional.max_pool2d(image, 2, return_indices=True)
        if unpool:
            return _channels_last(torch.nn.functional.max_unpool2d(maxima, places, 2))
        return _channels_last(maxima), _channels_last(places)

    return run


def distance_transform(mask):
    """scipy's, on the CPU."""
    import scipy.ndimage

    mask = mask.cpu().numpy()
    return lambda: torch.from_numpy(scipy.ndimage.distance_transform_edt(mask))


# The conversation with benchmarks.ops


def _seconds_of(run, calls, device):
    start = time.perf_counter()
    for _ in range(calls):
        run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _load(path, name, options, device):
    function = globals().get(name, None)
    if name.startswith("_") or not inspect.isfunction(function):
        raise ValueError(f"peer_torch.py has no function {name!r}")
    with np.load(path) as file:
        # `arr_0`, `arr_1`, ...: the order of np.savez's positional arrays.
        inputs = [torch.from_numpy(file[f"arr_{i}"]).to(device) for i in range(len(file.files))]
    return function(*inputs, **options)


def _save(path, answer):
    answer = answer if isinstance(answer, tuple) else (answer,)
    np.savez(path, *(a.detach().cpu().numpy() for a in answer))


def _serve(device):
    """Answers requests until stdin ends."""
    run = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = {}
            if "load" in request:
                run = _load(request["load"], request["function"], request["options"], device)
            elif "time" in request:
                reply["seconds"] = _seconds_of(run, request["time"], device)
            else:
                _save(request["answer"], run())
        except Exception as error:  # told to the asker, who goes on with its next row
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    versions = {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "torch threads": torch.get_num_threads(),
    }
    print(json.dumps(versions), flush=True)
    _serve(sys.argv[1])
