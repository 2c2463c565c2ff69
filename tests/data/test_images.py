import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from jaxcv.data import images

RAMP = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)  # 4 high, 6 wide


def encoded(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def test_grey_is_repeated_for_three_channels():
    image = images.decode(encoded(Image.fromarray(RAMP)), channels=3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.stack([RAMP] * 3, axis=-1))


def test_colour_becomes_luma_for_one_channel():
    red = Image.new("RGB", (2, 3), (255, 0, 0))
    image = images.decode(encoded(red), channels=1)
    np.testing.assert_array_equal(image, np.full((3, 2, 1), 76))  # 0.299 * 255


def test_the_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image = images.decode(encoded(Image.fromarray(RAMP), exif=exif), channels=1)
    np.testing.assert_array_equal(image[:, :, 0], np.rot90(RAMP, -1))


def test_cmyk_becomes_rgb():
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    image = images.decode(encoded(cyan, "JPEG", quality=95), channels=3)
    np.testing.assert_allclose(image[4, 4], [0, 255, 255], atol=3)


def test_a_palette_becomes_its_colours():
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((1, 0), 1)
    image = images.decode(encoded(picture), channels=3)
    np.testing.assert_array_equal(image, [[[10, 20, 30], [40, 50, 60]]])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_white(mode):
    picture = Image.new("RGBA", (1, 1), (0, 0, 0, 0)).convert(mode)
    options = {"transparency": picture.getpixel((0, 0))} if mode == "P" else {}
    image = images.decode(encoded(picture, **options), channels=3)
    np.testing.assert_array_equal(image, np.full((1, 1, 3), 255))


def test_half_transparent_black_is_grey():
    picture = Image.new("RGBA", (1, 1), (0, 0, 0, 51))
    np.testing.assert_array_equal(images.decode(encoded(picture), channels=1), [[[204]]])


def test_sixteen_bits_become_the_upper_eight():
    wide = np.array([[0, 255, 256, 65535]], np.uint16)
    image = images.decode(encoded(Image.fromarray(wide)), channels=1)
    np.testing.assert_array_equal(image[:, :, 0], [[0, 0, 1, 255]])


def test_one_bit_becomes_black_and_white():
    image = images.decode(encoded(Image.new("1", (1, 1), 1)), channels=1)
    np.testing.assert_array_equal(image, [[[255]]])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no image",
        encoded(Image.fromarray(RAMP))[:60],
        encoded(Image.new("RGB", (64, 64)), "JPEG")[:-200],
        encoded(Image.new("F", (2, 2)), "TIFF"),
    ],
    ids=["empty", "text", "cut png", "cut jpeg", "float"],
)
def test_an_unreadable_file_is_named(tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.png: cannot be read as an image.*replace"):
        images.decode(path, channels=3)


def test_an_absurdly_large_image_is_refused_before_it_is_decoded(tmp_path):
    # 30,000 x 30,000 pixels of 1 bit, of which the file holds none.
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )
    with pytest.raises(ValueError, match=r"bomb\.png: has more than the 89,478,485 pixels"):
        images.decode(path, channels=1)


def test_an_image_above_the_limit_of_pixels_is_refused(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 23)
    with pytest.raises(ValueError, match=r"small: has more than the 23 pixels.*Shrink"):
        images.decode(encoded(Image.fromarray(RAMP)), channels=1, name="small")


def test_a_missing_file_and_wrong_channels_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.png: there is no such file"):
        images.decode(tmp_path / "none.png", channels=3)
    with pytest.raises(ValueError, match=r"channels must be 1 .* or 3 .*got 4"):
        images.decode(b"", channels=4)


def test_fit_takes_the_centred_square():
    columns = np.broadcast_to(np.arange(6, dtype=np.uint8) * 10, (2, 6))[..., None]
    np.testing.assert_array_equal(images.fit(columns, size=2)[:, :, 0], [[20, 30], [20, 30]])


def test_fit_is_bilinear_with_half_pixel_centres():
    # Output centres lie at -0.25, 0.25, 0.75, 1.25 of the input's pixel centres; edges repeat.
    pair = np.array([[[0], [100]], [[0], [100]]], np.uint8)
    np.testing.assert_array_equal(images.fit(pair, size=4)[0, :, 0], [0, 25, 75, 100])


def test_fit_works_on_one_pixel_and_on_a_sliver():
    np.testing.assert_array_equal(
        images.fit(np.full((1, 1, 3), 7, np.uint8), size=5), np.full((5, 5, 3), 7)
    )
    assert images.fit(np.zeros((1, 50_000, 1), np.uint8), size=224).shape == (224, 224, 1)


def test_find_expands_folders_in_order_and_keeps_files(tmp_path):
    for name in ("b.png", "a.JPG", "deep/c.webp", "notes.txt", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = images.find([tmp_path / "notes.txt", tmp_path])
    want = ["notes.txt", "a.JPG", "b.png", "deep/c.webp"]
    assert found == [str(tmp_path / name) for name in want]


def test_find_names_an_empty_folder_and_a_missing_path(tmp_path):
    with pytest.raises(ValueError, match=r"the folder holds no image \(.bmp.*Name another"):
        images.find([tmp_path])
    with pytest.raises(ValueError, match="nowhere: there is no such file or folder"):
        images.find([tmp_path / "nowhere"])
