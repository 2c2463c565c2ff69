"""The peers of `benchmarks.ops`: torch's and torchvision's own operators.

`benchmarks.ops` runs this file in an interpreter that has torch, and asks it, one line of JSON at a
time on stdin: {"load": FILE, "function": NAME, "options": {...}}, {"time": CALLS} or
{"answer": FILE}. Each is answered by one line of JSON on stdout; an error by {"error": ...}.

A peer is a public function here: (*inputs as tensors, **options) -> the function to time.
"""

import inspect
import json
import sys
import time

import numpy as np
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

# Sampling


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
