"""The peer of `benchmarks.samplers`: its U-Net and its DDIM loop in eager torch.

`benchmarks.samplers` runs this file in an interpreter that has torch, and asks it, one line of JSON
at a time on stdin: {"load": FILE, "channels_last": BOOL} (weights and inputs), {"time": RUNS} or
{"answer": FILE}. Each is answered by one line of JSON on stdout; an error by {"error": ...}.
"""

import json
import math
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

EMBEDDING, GROUPS = 64, 8


class UNet:
    """The network of `benchmarks.unet.UNet`, of the same weights by name."""

    def __init__(self, weights):
        self.weights = weights

    def __call__(self, x, t):
        frequencies = torch.exp(
            -math.log(10_000) / (EMBEDDING // 2) * torch.arange(EMBEDDING // 2, device=x.device)
        )
        angles = t[:, None] * frequencies
        time = torch.cat([torch.sin(angles), torch.cos(angles)], 1)
        time = self.dense("time2", F.silu(self.dense("time1", time)))
        top = self.block("down0", self.conv("first", x), time)
        middle = self.block("down1", self.conv("shrink0", top, stride=2), time)
        x = self.block("down2", self.conv("shrink1", middle, stride=2), time)
        x = self.block("up1", torch.cat([F.interpolate(x, scale_factor=2), middle], 1), time)
        x = self.block("up0", torch.cat([F.interpolate(x, scale_factor=2), top], 1), time)
        return self.conv("last", F.silu(self.norm("norm", x)))

    def block(self, name, x, time):
        h = self.conv(f"{name}.conv1", F.silu(self.norm(f"{name}.norm1", x)))
        h = h + self.dense(f"{name}.time", F.silu(time))[:, :, None, None]
        h = self.conv(f"{name}.conv2", F.silu(self.norm(f"{name}.norm2", h)))
        if f"{name}.skip.kernel" in self.weights:
            x = self.conv(f"{name}.skip", x)
        return x + h

    def conv(self, name, x, stride=1):
        kernel = self.weights[f"{name}.kernel"]
        bias = self.weights[f"{name}.bias"]
        return F.conv2d(x, kernel, bias, stride=stride, padding=kernel.shape[-1] // 2)

    def norm(self, name, x):
        return F.group_norm(
            x, GROUPS, self.weights[f"{name}.scale"], self.weights[f"{name}.bias"], eps=1e-5
        )

    def dense(self, name, x):
        return F.linear(x, self.weights[f"{name}.kernel"], self.weights[f"{name}.bias"])


@torch.no_grad()
def ddim(model, x, timesteps, alphas, alphas_after):
    """The loop that people write, in float32, without clipping."""
    for t, a, after in zip(timesteps, alphas, alphas_after):
        epsilon = model(x, torch.full((len(x),), t, device=x.device))
        x0 = (x - (1 - a) ** 0.5 * epsilon) / a**0.5
        x = after**0.5 * x0 + (1 - after) ** 0.5 * epsilon
    return x


def torch_weights(arrays, channels_last):
    """Kernels [h, w, in, out] and [in, out] in torch's layouts, other arrays as they are."""
    weights = {}
    for name, array in arrays.items():
        if name.endswith("kernel"):
            array = array.permute(3, 2, 0, 1) if array.ndim == 4 else array.T
        form = torch.channels_last if channels_last and array.ndim == 4 else torch.contiguous_format
        weights[name] = array.contiguous(memory_format=form)
    return weights


def _load(path, channels_last, device):
    with np.load(path) as file:
        arrays = {name: torch.from_numpy(file[name]).to(device) for name in file.files}
    x = arrays.pop("x").permute(0, 3, 1, 2).contiguous()
    runs = [arrays.pop(name).tolist() for name in ("timesteps", "alphas", "alphas_after")]
    weights = torch_weights(arrays, channels_last)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    model = UNet(weights)
    return lambda: ddim(model, x, *runs)


def _seconds_of(run, count, device):
    start = time.perf_counter()
    for _ in range(count):
        run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _serve(device):
    run = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = {}
            if "load" in request:
                run = _load(request["load"], request["channels_last"], device)
            elif "time" in request:
                reply["seconds"] = _seconds_of(run, request["time"], device)
            else:
                np.save(request["answer"], run().permute(0, 2, 3, 1).contiguous().cpu().numpy())
        except Exception as error:  # told to the asker
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    versions = {"torch": torch.__version__, "torch threads": torch.get_num_threads()}
    print(json.dumps(versions), flush=True)
    _serve(sys.argv[1])
