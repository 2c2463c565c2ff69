import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments import parts
from jaxcv import models, weights
from jaxcv.data import digits, imagenet
from tests.models import small

IMAGES, LABELS = digits.arrays("test")


def forms(picture, folder):
    """The same grey picture as files of every kind, none of which loses anything."""
    rotated = Image.Exif()
    rotated[0x0112] = 6  # viewers turn it by 90 degrees clockwise
    wide = Image.fromarray((np.asarray(picture).astype(np.uint16) << 8) + 9)
    picture.save(folder / "grey.png")
    picture.convert("RGB").save(folder / "colour.bmp")
    picture.convert("RGBA").save(folder / "opaque.webp", lossless=True)
    picture.convert("RGB").convert("CMYK").save(folder / "cmyk.tif")
    picture.convert("P").save(folder / "palette.gif")
    wide.save(folder / "wide.png")
    picture.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.png", exif=rotated)


def predicted(run, output, *inputs, of):
    ran = run(
        "predict",
        *of,
        f"--inputs={','.join(map(str, inputs))}",
        f"--output={output}",
        "--config.compilation_cache=",
    )
    assert (ran.status, ran.stderr) == (0, "")
    return json.loads((output / "predictions.json").read_text())


def saved(path, name, shape, **attributes):
    """Writes a checkpoint of random values: -> its variables."""
    model = models.create(name, **attributes)
    variables = small.random_variables(model, np.zeros((1, *shape), np.float32))
    weights.save(name, variables, path, image_shape=shape, **attributes)
    return variables


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty digits, one of them in every form, and an image of one pixel."""
    folder = tmp_path_factory.mktemp("inputs")
    for i in range(40):
        Image.fromarray(IMAGES[9 * i]).save(folder / f"{i:02}.png")
    (folder / "forms").mkdir()
    forms(Image.fromarray(IMAGES[0]), folder / "forms")
    Image.new("L", (1, 1)).save(folder / "pixel.png")
    return folder


def test_files_and_folders_become_json_and_pictures(run, trained, folder, tmp_path):
    rows = predicted(
        run, tmp_path / "out", folder / "pixel.png", folder, of=[f"--workdir={trained}"]
    )
    names = [f"{i:02}.png" for i in range(40)]
    assert [row["file"] for row in rows[:41]] == [str(folder / n) for n in ("pixel.png", *names)]
    for row in rows:
        assert row["class_names"] == [str(c) for c in row["classes"]]
        assert row["probabilities"] == sorted(row["probabilities"], reverse=True)
    right = [row["classes"][0] == LABELS[9 * i] for i, row in enumerate(rows[1:41])]
    assert sum(right) >= 36
    pictures = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert len(pictures) == len(rows) == 1 + 40 + 7 + 1
    assert pictures[:2] == ["0000_pixel.png", "0001_00.png"]

    kinds = {row["file"].rpartition("/")[2]: row for row in rows if "/forms/" in row["file"]}
    assert len(kinds) == 7
    for row in kinds.values():
        assert row["probabilities"] == kinds["grey.png"]["probabilities"], row["file"]


def test_a_checkpoint_file_needs_no_run_and_a_thousand_classes_have_imagenets_names(run, tmp_path):
    variables = saved(tmp_path / "lenet5.npz", "lenet5", (28, 28, 1), num_classes=1000)
    model = models.create("lenet5", num_classes=1000)
    image = np.random.default_rng(0).integers(0, 256, (1, 28, 28, 1), np.uint8)
    Image.fromarray(image[0, ..., 0]).save(tmp_path / "photo.png")
    network = (
        "--model=lenet5",
        f"--weights={tmp_path / 'lenet5.npz'}",
        "--config.model.num_classes=1000",
    )
    [row] = predicted(run, tmp_path / "out", tmp_path / "photo.png", of=network)
    probabilities = jax.nn.softmax(model.apply(variables, jnp.float32(image / 255))["logits"][0])
    best = np.argsort(-probabilities)[:5]
    assert row["classes"] == best.tolist()
    np.testing.assert_allclose(row["probabilities"], probabilities[best], rtol=1e-4)
    assert row["class_names"] == [imagenet.class_names()[c] for c in best]


@pytest.mark.parametrize(
    ("name", "file", "overrides", "fields"),
    [
        ("resnet50", "published", {}, (256, 224, 0.485)),
        ("resnet50", "published:v2", {}, (232, 224, 0.485)),
        ("googlenet", "googlenet.pth", {}, (256, 224, 0.5)),  # as of the published file
        ("googlenet_2014", "file.pth", {}, (224, 0, 0.485)),  # there is none
        ("alexnet_2012", "file.pth", {}, (227, 0, 0.485)),
        ("lenet5", "file.pth", {}, (28, 0, 0.0)),
        ("resnet50", "published", {"data.eval_crop": "256", "data.mean": "0.5"}, (256, 256, 0.5)),
        ("resnet50", "published", {"data.image_size": "192"}, (192, 0, 0.485)),
        ("vit_b_16", "published:swag_e2e", {}, (384, 384, 0.485)),
        ("vit_b_16", "file.pth", {"model.image_size": "384"}, (384, 0, 0.485)),
    ],
)
def test_images_are_made_as_the_publisher_makes_them(name, file, overrides, fields):
    config = parts.published_config(name, file, overrides)
    assert (config.data.image_size, config.data.eval_crop, config.data.mean[0]) == fields
    assert config.model.get("image_size") == (384 if name == "vit_b_16" else None)


def test_a_file_that_takes_bgr_is_given_rgb(tmp_path):
    _, attributes, shape = small.SMALL["bninception"]
    file = tmp_path / weights.published("bninception").file
    saved(tmp_path / "own.npz", "bninception", shape, **attributes)
    (tmp_path / "own.npz").rename(file)
    overrides = {f"model.{name}": value for name, value in attributes.items()}
    overrides["data.eval_crop"] = 0
    config = parts.published_config("bninception", str(file), overrides)
    task, variables = parts.published_task(config)
    image = np.random.default_rng(0).integers(0, 256, (1, *shape), np.uint8)
    as_published = weights.load("bninception", file, **attributes)
    model = models.create("bninception", **attributes)
    wanted = model.apply(as_published, np.float32(image)[..., ::-1] - [104.0, 117.0, 128.0])
    predicted = task.predict(variables, {"image": image})
    probabilities = np.asarray(jax.nn.softmax(wanted["logits"][0]))
    best = np.argsort(-probabilities)[:5]
    assert predicted["classes"][0].tolist() == best.tolist()
    np.testing.assert_allclose(predicted["probabilities"][0], probabilities[best], rtol=1e-3)


def test_maps_of_the_classes_are_drawn_where_the_network_has_them(run, tmp_path):
    saved(tmp_path / "resnet20.npz", "resnet20", (32, 32, 3), depth=8, width=4)
    Image.fromarray(IMAGES[0]).save(tmp_path / "photo.png")
    network = (
        "--model=resnet20",
        f"--weights={tmp_path / 'resnet20.npz'}",
        "--config.model.depth=8",
        "--config.model.width=4",
        "--cam",
    )
    predicted(run, tmp_path / "out", tmp_path / "photo.png", of=network)
    drawn = np.asarray(Image.open(tmp_path / "out" / "0000_photo_cam.png"))
    assert drawn.shape[1] > 3 * 224  # three columns: the photo and five maps


def test_maps_of_a_network_that_has_none_are_refused(run, trained, tmp_path):
    Image.fromarray(IMAGES[0]).save(tmp_path / "photo.png")
    ran = run(
        "predict",
        f"--workdir={trained}",
        f"--inputs={tmp_path / 'photo.png'}",
        f"--output={tmp_path / 'out'}",
        "--cam",
    )
    assert (ran.status, ran.stdout, ran.compiled) == (2, "", 0)
    assert "LeNet5 has no class activation map" in ran.stderr
    assert not (tmp_path / "out").exists()
