import json

import numpy as np
import pytest
from PIL import Image

from jaxcv.data import digits

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


def predicted(run, trained, output, *inputs):
    ran = run(
        "predict",
        f"--workdir={trained}",
        f"--inputs={','.join(map(str, inputs))}",
        f"--output={output}",
        "--config.compilation_cache=",
    )
    assert (ran.status, ran.stderr) == (0, "")
    return json.loads((output / "predictions.json").read_text())


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
    rows = predicted(run, trained, tmp_path / "out", folder / "pixel.png", folder)
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
