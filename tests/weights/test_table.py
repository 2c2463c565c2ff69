import hashlib

import pytest

from jaxcv import models, weights


def test_the_table_tells_place_digest_and_accuracy():
    resnet = weights.published("resnet50")
    assert resnet.url == "https://download.pytorch.org/models/resnet50-0676ba61.pth"
    assert (resnet.sha256, resnet.top1) == ("0676ba61", 76.13)
    later = weights.published("resnet50:v2")
    assert (later.sha256, later.top1) == ("11ad3fa6", 80.858)
    inception = weights.published("inception_v4")
    assert (inception.file, inception.sha256) == ("inception_v4.tf_in1k.safetensors", "")


def test_every_published_file_has_a_name_of_its_own():
    files = [weights.published(name) for name in weights.available()]
    assert len({file.file for file in files}) == len(files) > 100
    for file in files:
        assert file.sha256 or file.url.startswith("https://huggingface.co/timm/")
        assert 50 < file.top1 < 90


def test_every_published_file_is_of_a_model_there_is():
    assert {name.partition(":")[0] for name in weights.available()} <= set(models.available())


HALF = (0.5, 0.5, 0.5)
IMAGENET = (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("name", "resize", "crop", "mean"),
    [
        ("resnet50", 256, 224, IMAGENET),
        ("resnet50:v2", 232, 224, IMAGENET),
        ("alexnet", 256, 224, IMAGENET),
        ("googlenet", 256, 224, HALF),
        ("inception_v3", 342, 299, HALF),
        ("inception_v4", 341, 299, HALF),
        ("inception_resnet_v2", 333, 299, HALF),
        ("legacy_xception", 333, 299, HALF),
        ("legacy_seresnet50", 256, 224, IMAGENET),
        ("mobilenetv1_100", 256, 224, HALF),
        ("mobilenetv1_125", 248, 224, HALF),
        ("efficientnet_b1", 256, 240, IMAGENET),
        ("efficientnet_b1:v2", 255, 240, IMAGENET),
        ("efficientnet_b7", 600, 600, IMAGENET),
        ("efficientnet_v2_s", 384, 384, IMAGENET),
        ("efficientnet_v2_l", 480, 480, HALF),
        ("swin_v2_b", 272, 256, IMAGENET),
        ("vit_small_patch16_224", 248, 224, HALF),
        ("vit_h_14:swag_e2e", 518, 518, IMAGENET),
    ],
)
def test_the_table_tells_how_the_publisher_makes_images(name, resize, crop, mean):
    row = weights.published(name)
    assert (row.resize, row.crop, row.mean) == (resize, crop, mean)
    assert row.std == (mean if mean == HALF else (0.229, 0.224, 0.225))


def test_what_networks_see_fits_into_their_images():
    rows = [weights.published(name) for name in weights.available()]
    assert all(224 <= row.crop <= row.resize <= 600 for row in rows)
    assert {row.name for row in rows if row.bgr} == {"bninception"}
    sizes = {row.name: row.image_size for row in rows if row.image_size}
    assert sizes == {"vit_b_16:swag_e2e": 384, "vit_h_14:swag_e2e": 518, "vit_l_16:swag_e2e": 512}


def test_an_unknown_name_lists_near_ones():
    with pytest.raises(ValueError, match=r"checkpoint of 'resnet51' is known\. Nearest: resnet50"):
        weights.published("resnet51")
    with pytest.raises(ValueError, match=r"no published checkpoint of 'lenet5' is known"):
        weights.load("lenet5", "published")
    assert weights.available("vgg11*") == ["vgg11", "vgg11_bn"]


@pytest.fixture
def checkpoint(tmp_path):
    """A published file that is not far away."""
    digest = hashlib.sha256(b"content").hexdigest()
    path = tmp_path / f"net-{digest[:8]}.pth"
    path.write_bytes(b"content")
    return weights.Published("net", path.as_uri(), None)


def test_a_file_is_fetched_once_and_kept(checkpoint, tmp_path):
    said = []
    path = weights.fetch(checkpoint, folder=tmp_path / "kept", say=said.append)
    assert (path.name, path.read_bytes()) == (checkpoint.file, b"content")
    assert weights.fetch(checkpoint, folder=tmp_path / "kept", say=said.append) == path
    assert said == [f"Downloading {checkpoint.url} to {path}."]


def test_a_file_with_another_digest_is_refused(checkpoint, tmp_path):
    (tmp_path / checkpoint.file).write_bytes(b"contents")
    with pytest.raises(ValueError, match=r"has SHA-256 d1b2a59f.*starts with ed7002b4: delete it"):
        weights.fetch(checkpoint, folder=tmp_path)
    with pytest.raises(ValueError, match="delete it and try again"):
        weights.fetch(checkpoint, folder=tmp_path / "kept", say=lambda text: None)
    assert list((tmp_path / "kept").iterdir()) == []


def test_without_a_network_it_says_where_to_put_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXCV_WEIGHTS", str(tmp_path))
    nowhere = weights.Published("net", "http://127.0.0.1:9/net-ed7002b4.pth", None)
    with pytest.raises(FileNotFoundError, match=rf"9/net-.*could not.*put it at {tmp_path}/net-ed"):
        weights.fetch(nowhere, say=lambda text: None)
