"""The published checkpoints of architectures: where they are, what they reach, getting them.

Files of torchvision, timm and, for what these have not, pretrainedmodels (LIP6). Top-1 is the
publisher's, in percent on ImageNet's validation images made as the row says: the shorter side
resized, the middle cut out, normalised. Source: the metadata of torchvision's weights and timm's
`pretrained_cfg`; torchvision's googlenet and inception_v3 bring images to -1..1 themselves
(`transform_input`), here the row does. Interpolation is not told: bicubic for some, bilinear here.
Of several files for a name, "NAME:v2" and the like are the later ones.
"""

import dataclasses
import difflib
import fnmatch
import hashlib
import os
import pathlib
import re
import shutil
import urllib.request

_TORCH = "https://download.pytorch.org/models/{}"
_TIMM = "https://huggingface.co/timm/{}/resolve/main/model.safetensors"
_GITHUB = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-{}"
_LIP6 = "http://data.lip6.fr/cadene/pretrainedmodels/{}"


@dataclasses.dataclass(frozen=True)
class Published:
    """A published checkpoint."""

    name: str  # of the model, perhaps with ":v2" or the like
    url: str
    top1: float | None  # percent
    resize: int = 256  # pixels of the shorter side
    crop: int = 224  # pixels a side of the middle, which the network sees
    mean: tuple = (0.485, 0.456, 0.406)  # of the RGB image in 0..1, taken off it
    std: tuple = (0.229, 0.224, 0.225)  # divides the image after that
    image_size: int | None = None  # attribute of the model, where the file is not for its default
    bgr: str = ""  # the first convolution, where its channels are B, G, R

    @property
    def file(self):
        """The name under which the file is kept."""
        *_, repository, _, _, last = self.url.split("/")
        return f"{repository}.safetensors" if last == "model.safetensors" else last

    @property
    def sha256(self):
        """The first digits of the file's SHA-256 as its name tells them, "" where it does not."""
        found = re.search(r"-([0-9a-f]{8,64})\.pth$", self.url)
        return found.group(1) if found else ""


def available(pattern="*"):
    """Names that `published` knows: those that match the shell-style pattern."""
    return [name for name in _FILES if fnmatch.fnmatchcase(name, pattern)]


def published(name):
    """The Published of a model's name: `name`, `url`, `sha256` (first digits), `top1`, its images.

    Raises:
        ValueError: no checkpoint of this name is published, or none is known here.
    """
    if name not in _FILES:
        near = difflib.get_close_matches(name, _FILES)
        nearest = f" Nearest: {', '.join(near)}." if near else ""
        raise ValueError(
            f"name: no published checkpoint of {name!r} is known.{nearest} weights.available()"
            " lists all."
        )
    form, place, top1, *images = _FILES[name]
    return Published(name, form.format(place), top1, **dict(*images))


def fetch(checkpoint, *, folder=None, say=print):
    """The path of a published checkpoint's file, downloaded if it is not there yet.

    Args:
        checkpoint: a Published.
        folder: where files are kept; None: $JAXCV_WEIGHTS, else ~/.cache/jaxcv/weights.
        say: function of a message for people.

    Raises:
        FileNotFoundError: it cannot be downloaded; says where to put it.
        ValueError: the file has another SHA-256 than its name tells.
    """
    default = pathlib.Path.home() / ".cache" / "jaxcv" / "weights"
    path = pathlib.Path(folder or os.environ.get("JAXCV_WEIGHTS", default)) / checkpoint.file
    if not path.exists():
        say(f"Downloading {checkpoint.url} to {path}.")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            answer = urllib.request.urlopen(checkpoint.url, timeout=30)
            with answer, open(part, "wb") as file:
                shutil.copyfileobj(answer, file)
            _check(part, checkpoint)
            os.replace(part, path)
        except OSError as error:
            raise FileNotFoundError(
                f"{checkpoint.url} could not be downloaded ({error}). Get it where there is a"
                f" network and put it at {path}; $JAXCV_WEIGHTS names another folder."
            ) from error
        finally:
            part.unlink(missing_ok=True)
    else:
        _check(path, checkpoint)
    return path


def _check(path, checkpoint):
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(checkpoint.sha256):
        raise ValueError(
            f"{path} has SHA-256 {digest[:16]}..., that of {checkpoint.url} starts with"
            f" {checkpoint.sha256}: delete it and try again."
        )


# How images are made where it is not torchvision's first way, Published's defaults.
_V2 = {"resize": 232}  # its later way
_HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}  # images in -1..1
# Images in 0..255 less 104, 117, 128 of B, G, R.
_CAFFE = {
    "mean": (128 / 255, 117 / 255, 104 / 255),
    "std": (1 / 255, 1 / 255, 1 / 255),
    "bgr": "conv1_7x7_s2",
}


def _at(crop, resize=None, **more):
    return {"crop": crop, "resize": resize or crop, **more}


_OF_248 = _HALF | _at(224, 248)

# Name: (form of the URL, what stands in it, top-1, further fields of Published if it has any).
_FILES = {
    "alexnet": (_TORCH, "alexnet-owt-7be5be79.pth", 56.522),
    "bninception": (_LIP6, "bn_inception-52deb4733.pth", 73.522, _CAFFE),
    "convnext_base": (_TORCH, "convnext_base-6075fbad.pth", 84.062, _V2),
    "convnext_large": (_TORCH, "convnext_large-ea097f82.pth", 84.414, _V2),
    "convnext_small": (_TORCH, "convnext_small-0c510722.pth", 83.616, _at(224, 230)),
    "convnext_tiny": (_TORCH, "convnext_tiny-983f1562.pth", 82.52, _at(224, 236)),
    "densenet121": (_TORCH, "densenet121-a639ec97.pth", 74.434),
    "densenet161": (_TORCH, "densenet161-8d451a50.pth", 77.138),
    "densenet169": (_TORCH, "densenet169-b2777c0a.pth", 75.6),
    "densenet201": (_TORCH, "densenet201-c1103571.pth", 76.896),
    "efficientnet_b0": (_TORCH, "efficientnet_b0_rwightman-7f5810bc.pth", 77.692),
    "efficientnet_b1": (_TORCH, "efficientnet_b1_rwightman-bac287d4.pth", 78.642, _at(240, 256)),
    "efficientnet_b1:v2": (_TORCH, "efficientnet_b1-c27df63c.pth", 79.838, _at(240, 255)),
    "efficientnet_b2": (_TORCH, "efficientnet_b2_rwightman-c35c1473.pth", 80.608, _at(288)),
    "efficientnet_b3": (_TORCH, "efficientnet_b3_rwightman-b3899882.pth", 82.008, _at(300, 320)),
    "efficientnet_b4": (_TORCH, "efficientnet_b4_rwightman-23ab8bcd.pth", 83.384, _at(380, 384)),
    "efficientnet_b5": (_TORCH, "efficientnet_b5_lukemelas-1a07897c.pth", 83.444, _at(456)),
    "efficientnet_b6": (_TORCH, "efficientnet_b6_lukemelas-24a108a5.pth", 84.008, _at(528)),
    "efficientnet_b7": (_TORCH, "efficientnet_b7_lukemelas-c5b4e57e.pth", 84.122, _at(600)),
    "efficientnet_v2_l": (_TORCH, "efficientnet_v2_l-59c71312.pth", 85.808, _HALF | _at(480)),
    "efficientnet_v2_m": (_TORCH, "efficientnet_v2_m-dc08266a.pth", 85.112, _at(480)),
    "efficientnet_v2_s": (_TORCH, "efficientnet_v2_s-dd5fe13b.pth", 84.228, _at(384)),
    "googlenet": (_TORCH, "googlenet-1378be20.pth", 69.778, _HALF),
    "inception_resnet_v2": (_TIMM, "inception_resnet_v2.tf_in1k", 80.462, _HALF | _at(299, 333)),
    "inception_v3": (_TORCH, "inception_v3_google-0cc3c7bd.pth", 77.294, _HALF | _at(299, 342)),
    "inception_v4": (_TIMM, "inception_v4.tf_in1k", 80.156, _HALF | _at(299, 341)),
    "legacy_seresnet101": (_GITHUB, "cadene/se_resnet101-7e38fcc6.pth", 78.386),
    "legacy_seresnet152": (_GITHUB, "cadene/se_resnet152-d17c99b7.pth", 78.66),
    "legacy_seresnet50": (_GITHUB, "cadene/se_resnet50-ce0d4300.pth", 77.644),
    "legacy_seresnext101_32x4d": (
        _GITHUB,
        "weights/legacy_se_resnext101_32x4d-37725eac.pth",
        80.23,
    ),
    "legacy_seresnext26_32x4d": (_GITHUB, "weights/seresnext26_32x4d-65ebdb501.pth", 77.108),
    "legacy_seresnext50_32x4d": (_GITHUB, "weights/legacy_se_resnext50_32x4d-f3651bad.pth", 79.076),
    "legacy_xception": (_GITHUB, "cadene/xception-43020ad28.pth", 79.04, _HALF | _at(299, 333)),
    "mnasnet0_5": (_TORCH, "mnasnet0.5_top1_67.823-3ffadce67e.pth", 67.734),
    "mnasnet0_75": (_TORCH, "mnasnet0_75-7090bc5f.pth", 71.18, _V2),
    "mnasnet1_0": (_TORCH, "mnasnet1.0_top1_73.512-f206786ef8.pth", 73.456),
    "mnasnet1_3": (_TORCH, "mnasnet1_3-a4c69d6f.pth", 76.506, _V2),
    "mobilenet_v2": (_TORCH, "mobilenet_v2-b0353104.pth", 71.878),
    "mobilenet_v2:v2": (_TORCH, "mobilenet_v2-7ebf99e0.pth", 72.154, _V2),
    "mobilenet_v3_large": (_TORCH, "mobilenet_v3_large-8738ca79.pth", 74.042),
    "mobilenet_v3_large:v2": (_TORCH, "mobilenet_v3_large-5c1a4163.pth", 75.274, _V2),
    "mobilenet_v3_small": (_TORCH, "mobilenet_v3_small-047dcff4.pth", 67.668),
    "mobilenetv1_100": (_TIMM, "mobilenetv1_100.ra4_e3600_r224_in1k", 75.382, _HALF),
    "mobilenetv1_125": (_TIMM, "mobilenetv1_125.ra4_e3600_r224_in1k", 76.924, _OF_248),
    "regnet_x_16gf": (_TORCH, "regnet_x_16gf-2007eb11.pth", 80.058),
    "regnet_x_16gf:v2": (_TORCH, "regnet_x_16gf-ba3796d7.pth", 82.716, _V2),
    "regnet_x_1_6gf": (_TORCH, "regnet_x_1_6gf-e3633e7f.pth", 77.04),
    "regnet_x_1_6gf:v2": (_TORCH, "regnet_x_1_6gf-a12f2b72.pth", 79.668, _V2),
    "regnet_x_32gf": (_TORCH, "regnet_x_32gf-9d47f8d0.pth", 80.622),
    "regnet_x_32gf:v2": (_TORCH, "regnet_x_32gf-6eb8fdc6.pth", 83.014, _V2),
    "regnet_x_3_2gf": (_TORCH, "regnet_x_3_2gf-f342aeae.pth", 78.364),
    "regnet_x_3_2gf:v2": (_TORCH, "regnet_x_3_2gf-7071aa85.pth", 81.196, _V2),
    "regnet_x_400mf": (_TORCH, "regnet_x_400mf-adf1edd5.pth", 72.834),
    "regnet_x_400mf:v2": (_TORCH, "regnet_x_400mf-62229a5f.pth", 74.864, _V2),
    "regnet_x_800mf": (_TORCH, "regnet_x_800mf-ad17e45c.pth", 75.212),
    "regnet_x_800mf:v2": (_TORCH, "regnet_x_800mf-94a99ebd.pth", 77.522, _V2),
    "regnet_x_8gf": (_TORCH, "regnet_x_8gf-03ceed89.pth", 79.344),
    "regnet_x_8gf:v2": (_TORCH, "regnet_x_8gf-2b70d774.pth", 81.682, _V2),
    "regnet_y_128gf": (_TORCH, "regnet_y_128gf_lc_swag-cbe8ce12.pth", 86.068, _at(224)),
    "regnet_y_128gf:swag_e2e": (_TORCH, "regnet_y_128gf_swag-c8ce3e52.pth", 88.228, _at(384)),
    "regnet_y_16gf": (_TORCH, "regnet_y_16gf-9e6ed7dd.pth", 80.424),
    "regnet_y_16gf:swag_e2e": (_TORCH, "regnet_y_16gf_swag-43afe44d.pth", 86.012, _at(384)),
    "regnet_y_16gf:swag_linear": (_TORCH, "regnet_y_16gf_lc_swag-f3ec0043.pth", 83.976, _at(224)),
    "regnet_y_16gf:v2": (_TORCH, "regnet_y_16gf-3e4a00f9.pth", 82.886, _V2),
    "regnet_y_1_6gf": (_TORCH, "regnet_y_1_6gf-b11a554e.pth", 77.95),
    "regnet_y_1_6gf:v2": (_TORCH, "regnet_y_1_6gf-0d7bc02a.pth", 80.876, _V2),
    "regnet_y_32gf": (_TORCH, "regnet_y_32gf-4dee3f7a.pth", 80.878),
    "regnet_y_32gf:swag_e2e": (_TORCH, "regnet_y_32gf_swag-04fdfa75.pth", 86.838, _at(384)),
    "regnet_y_32gf:swag_linear": (_TORCH, "regnet_y_32gf_lc_swag-e1583746.pth", 84.622, _at(224)),
    "regnet_y_32gf:v2": (_TORCH, "regnet_y_32gf-8db6d4b5.pth", 83.368, _V2),
    "regnet_y_3_2gf": (_TORCH, "regnet_y_3_2gf-b5a9779c.pth", 78.948),
    "regnet_y_3_2gf:v2": (_TORCH, "regnet_y_3_2gf-9180c971.pth", 81.982, _V2),
    "regnet_y_400mf": (_TORCH, "regnet_y_400mf-c65dace8.pth", 74.046),
    "regnet_y_400mf:v2": (_TORCH, "regnet_y_400mf-e6988f5f.pth", 75.804, _V2),
    "regnet_y_800mf": (_TORCH, "regnet_y_800mf-1b27b58c.pth", 76.42),
    "regnet_y_800mf:v2": (_TORCH, "regnet_y_800mf-58fc7688.pth", 78.828, _V2),
    "regnet_y_8gf": (_TORCH, "regnet_y_8gf-d0d0e4a8.pth", 80.032),
    "regnet_y_8gf:v2": (_TORCH, "regnet_y_8gf-dc2b1b54.pth", 82.828, _V2),
    "resnet101": (_TORCH, "resnet101-63fe2227.pth", 77.374),
    "resnet101:v2": (_TORCH, "resnet101-cd907fc2.pth", 81.886, _V2),
    "resnet152": (_TORCH, "resnet152-394f9c45.pth", 78.312),
    "resnet152:v2": (_TORCH, "resnet152-f82ba261.pth", 82.284, _V2),
    "resnet18": (_TORCH, "resnet18-f37072fd.pth", 69.758),
    "resnet34": (_TORCH, "resnet34-b627a593.pth", 73.314),
    "resnet50": (_TORCH, "resnet50-0676ba61.pth", 76.13),
    "resnet50:v2": (_TORCH, "resnet50-11ad3fa6.pth", 80.858, _V2),
    "resnext101_32x8d": (_TORCH, "resnext101_32x8d-8ba56ff5.pth", 79.312),
    "resnext101_32x8d:v2": (_TORCH, "resnext101_32x8d-110c445d.pth", 82.834, _V2),
    "resnext101_64x4d": (_TORCH, "resnext101_64x4d-173b62eb.pth", 83.246, _V2),
    "resnext50_32x4d": (_TORCH, "resnext50_32x4d-7cdf4587.pth", 77.618),
    "resnext50_32x4d:v2": (_TORCH, "resnext50_32x4d-1a0047aa.pth", 81.198, _V2),
    "shufflenet_v2_x0_5": (_TORCH, "shufflenetv2_x0.5-f707e7126e.pth", 60.552),
    "shufflenet_v2_x1_0": (_TORCH, "shufflenetv2_x1-5666bf0f80.pth", 69.362),
    "shufflenet_v2_x1_5": (_TORCH, "shufflenetv2_x1_5-3c479a10.pth", 72.996, _V2),
    "shufflenet_v2_x2_0": (_TORCH, "shufflenetv2_x2_0-8be3c8ee.pth", 76.23, _V2),
    "squeezenet1_0": (_TORCH, "squeezenet1_0-b66bff10.pth", 58.092),
    "squeezenet1_1": (_TORCH, "squeezenet1_1-b8a52dc0.pth", 58.178),
    "swin_b": (_TORCH, "swin_b-68c6b09e.pth", 83.582, _at(224, 238)),
    "swin_s": (_TORCH, "swin_s-5e29d889.pth", 83.196, _at(224, 246)),
    "swin_t": (_TORCH, "swin_t-704ceda3.pth", 81.474, _V2),
    "swin_v2_b": (_TORCH, "swin_v2_b-781e5279.pth", 84.112, _at(256, 272)),
    "swin_v2_s": (_TORCH, "swin_v2_s-637d8ceb.pth", 83.712, _at(256, 260)),
    "swin_v2_t": (_TORCH, "swin_v2_t-b137f0e2.pth", 82.072, _at(256, 260)),
    "vgg11": (_TORCH, "vgg11-8a719046.pth", 69.02),
    "vgg11_bn": (_TORCH, "vgg11_bn-6002323d.pth", 70.37),
    "vgg13": (_TORCH, "vgg13-19584684.pth", 69.928),
    "vgg13_bn": (_TORCH, "vgg13_bn-abd245e5.pth", 71.586),
    "vgg16": (_TORCH, "vgg16-397923af.pth", 71.592),
    "vgg16_bn": (_TORCH, "vgg16_bn-6c64b313.pth", 73.36),
    "vgg19": (_TORCH, "vgg19-dcbb9e9d.pth", 72.376),
    "vgg19_bn": (_TORCH, "vgg19_bn-c79401a0.pth", 74.218),
    "vit_b_16": (_TORCH, "vit_b_16-c867db91.pth", 81.072),
    "vit_b_16:swag_e2e": (_TORCH, "vit_b_16_swag-9ac1b537.pth", 85.304, _at(384, image_size=384)),
    "vit_b_16:swag_linear": (_TORCH, "vit_b_16_lc_swag-4e70ced5.pth", 81.886, _at(224)),
    "vit_b_32": (_TORCH, "vit_b_32-d86f8d99.pth", 75.912),
    "vit_base_patch16_224": (_TIMM, "vit_base_patch16_224.augreg2_in21k_ft_in1k", 85.096, _OF_248),
    "vit_base_patch32_224": (_TIMM, "vit_base_patch32_224.augreg_in21k_ft_in1k", 80.716, _OF_248),
    "vit_h_14": (_TORCH, "vit_h_14_lc_swag-c1eb923e.pth", 85.708, _at(224)),
    "vit_h_14:swag_e2e": (_TORCH, "vit_h_14_swag-80465313.pth", 88.552, _at(518, image_size=518)),
    "vit_l_16": (_TORCH, "vit_l_16-852ce7e3.pth", 79.662, _at(224, 242)),
    "vit_l_16:swag_e2e": (_TORCH, "vit_l_16_swag-4f3808c9.pth", 88.064, _at(512, image_size=512)),
    "vit_l_16:swag_linear": (_TORCH, "vit_l_16_lc_swag-4d563306.pth", 85.146, _at(224)),
    "vit_l_32": (_TORCH, "vit_l_32-c7638314.pth", 76.972),
    "vit_large_patch16_224": (_TIMM, "vit_large_patch16_224.augreg_in21k_ft_in1k", 85.834, _OF_248),
    "vit_small_patch16_224": (_TIMM, "vit_small_patch16_224.augreg_in21k_ft_in1k", 81.384, _OF_248),
    "vit_small_patch32_224": (_TIMM, "vit_small_patch32_224.augreg_in21k_ft_in1k", 75.994, _OF_248),
    "vit_tiny_patch16_224": (_TIMM, "vit_tiny_patch16_224.augreg_in21k_ft_in1k", 75.454, _OF_248),
    "wide_resnet101_2": (_TORCH, "wide_resnet101_2-32ee1156.pth", 78.848),
    "wide_resnet101_2:v2": (_TORCH, "wide_resnet101_2-d733dc28.pth", 82.51, _V2),
    "wide_resnet50_2": (_TORCH, "wide_resnet50_2-95faca4d.pth", 78.468),
    "wide_resnet50_2:v2": (_TORCH, "wide_resnet50_2-9ba9bcbe.pth", 81.602, _V2),
}
