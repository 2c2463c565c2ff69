"""pydensecrf, the peer of `benchmarks.crf`, which runs this file in an interpreter that has it.

One line of JSON on stdin, one on stdout: {"load": FILE} an .npz with `unary` [H, W, L] and `image`,
{"time": ITERATIONS} -> seconds to build and to infer, {"answer": FILE, "iterations": N} marginals.
"""

import json
import sys
import time

import numpy as np
import pydensecrf.densecrf as densecrf


def build(unary, image):
    height, width, labels = unary.shape
    crf = densecrf.DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(np.ascontiguousarray(unary.reshape(-1, labels).T))
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=80, srgb=13, rgbim=image, compat=10)
    return crf


def serve():
    unary = image = None
    for line in sys.stdin:
        request, reply = json.loads(line), {}
        if "load" in request:
            with np.load(request["load"]) as file:
                unary, image = file["unary"], np.ascontiguousarray(file["image"])
        elif "time" in request:
            start = time.perf_counter()
            crf = build(unary, image)
            built = time.perf_counter()
            crf.inference(request["time"])
            reply = {"build": built - start, "infer": time.perf_counter() - built}
        else:
            marginals = np.array(build(unary, image).inference(request["iterations"]))
            np.save(request["answer"], marginals.T.reshape(unary.shape))
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    print(json.dumps({"numpy": np.__version__, "threads": 1}), flush=True)
    serve()
