from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data import images
from headstart.data.images import UnreadableImage, from_bytes, inspect_image, open_image
from headstart.errors import DataError, ResourceError

Photo = Callable[..., Path]


def png_of_size(width: int, height: int) -> bytes:
    """The header of a PNG that claims to be large, and next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "gif", "tif"])
def test_six_formats_open_as_plain_rgb(tmp_path: Path, photo: Photo, suffix: str) -> None:
    image = open_image(photo(tmp_path / f"a.{suffix}"))
    assert (type(image), image.mode, image.size) == (Image.Image, "RGB", (20, 16))


def test_content_decides_and_not_the_name(tmp_path: Path, photo: Photo) -> None:
    path = photo(tmp_path / "a.png").rename(tmp_path / "a.txt")
    assert open_image(path).size == (20, 16)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"hello, I am a text", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (b"%PDF-1.7 ...", "not an image"),
        (b"P6 1 1 255 abc", "not an image"),
        (b"\xff\xd8\xff\xe0 but then nothing", "damaged"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"GIF89a", "damaged"),
        (b"BM" + b"\0" * 60, "damaged"),
        (b"II*\0" + b"\xff" * 40, "damaged"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "damaged"),
        (b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\x3f\0" * 2, "more than 100 megapixels"),
        (png_of_size(20_000, 20_000), "20000 x 20000 pixels; the limit is 100 megapixels"),
        (png_of_size(9_990, 9_990), "damaged"),
    ],
    ids=[
        "empty",
        "text",
        "svg",
        "pdf",
        "ppm",
        "jpeg",
        "png",
        "gif",
        "bmp",
        "tiff",
        "webp",
        "webp bomb",
        "bomb",
        "no bomb",
    ],
)
def test_what_is_no_image_says_why(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for read in (open_image, inspect_image):
        with pytest.raises(UnreadableImage) as caught:  # and no warning: those are errors in tests
            read(path)
        assert reason in caught.value.reason
        assert str(path) in str(caught.value)
    with pytest.raises(UnreadableImage):
        inspect_image(from_bytes(content))


def test_pixel_limit_counts_for_images_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    assert open_image(Image.new("RGB", (10, 10))).size == (10, 10)
    for read in (open_image, inspect_image):
        with pytest.raises(UnreadableImage, match="11 x 10 pixels"):
            read(Image.new("L", (11, 10)))
        with pytest.raises(UnreadableImage, match="11 x 10 pixels"):
            read(np.zeros((10, 11)))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "gif", "tif"])
def test_truncated_files_are_unreadable(tmp_path: Path, photo: Photo, suffix: str) -> None:
    path = photo(tmp_path / f"a.{suffix}", size=(200, 200))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for draft in (None, 32):
        with pytest.raises(UnreadableImage):
            open_image(path, draft=draft)
    with pytest.raises(UnreadableImage):
        inspect_image(path)


def test_places_that_hold_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    reasons = {
        "folder.png": "is a folder",
        "link.png": "does not exist",
        "loop.png": "cannot be read",
        "missing.png": "does not exist",
        "pipe.png": "not a regular file",
        "zero\0byte.png": "null",
    }
    for name, reason in reasons.items():
        with pytest.raises(UnreadableImage, match=reason):
            open_image(tmp_path / name)


def test_forbidden_file_is_unreadable(tmp_path: Path, photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    path = photo(tmp_path / "a.png")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UnreadableImage, match="permission denied"):
        open_image(path)


def test_lack_of_memory_is_no_fault_of_the_file(tmp_path: Path, photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(_: object) -> None:
        raise MemoryError

    path = photo(tmp_path / "a.png")
    monkeypatch.setattr(images.PngImageFile, "load", exhaust)
    for read in (open_image, inspect_image):
        with pytest.raises(ResourceError, match=r"out of memory while decoding .*a\.png"):
            read(path)


def test_unreadable_image_is_a_data_error() -> None:
    assert issubclass(UnreadableImage, DataError)
    assert UnreadableImage("why").reason == "why"


def test_exif_orientation_is_applied_once(tmp_path: Path) -> None:
    upright = Image.new("RGB", (40, 20), "white")
    upright.paste("black", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: shown turned by 90 degrees clockwise
    for suffix, options in {"jpg": {"quality": 95}, "png": {}, "webp": {"lossless": True}, "tif": {}}.items():
        path = tmp_path / f"a.{suffix}"
        upright.save(path, exif=exif, **options)
        for source in (path, from_bytes(path.read_bytes()), Image.open(path)):
            image = open_image(source)
            assert image.size == (20, 40)
            assert image.getpixel((10, 5)) < (30, 30, 30)
            assert image.getpixel((10, 35)) > (225, 225, 225)


def test_broken_exif_does_not_spoil_the_picture(tmp_path: Path, photo: Photo) -> None:
    path = photo(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\xff")
    assert open_image(path).size == (20, 16)


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    half = Image.new("LA", (4, 4), (0, 128))
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 255] * 256)
    palette.info["transparency"] = 0
    assert open_image(clear).getpixel((0, 0)) == (255, 255, 255)
    assert open_image(half).getpixel((0, 0)) == (127, 127, 127)
    assert open_image(palette).getpixel((0, 0)) == (255, 255, 255)
    palette.save(tmp_path / "p.png", transparency=0)
    assert open_image(tmp_path / "p.png").getpixel((0, 0)) == (255, 255, 255)
    keyed = Image.new("RGB", (4, 4), (9, 9, 9))
    keyed.save(tmp_path / "k.png", transparency=(9, 9, 9))
    assert open_image(tmp_path / "k.png").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 32768, 65535]], np.uint16), [0, 128, 255]),
        (np.array([[0, 100, 255]], np.uint16), [0, 100, 255]),
        (np.array([[0, 1 << 20, 1 << 21]], np.int32), [0, 128, 255]),
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[np.nan, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[-3.0, 100.0, 200.0]], np.float32), [0, 100, 200]),
    ],
)
def test_deep_grey_becomes_eight_bits(tmp_path: Path, values: np.ndarray, expected: list[int]) -> None:
    sources: list[Path | Image.Image | np.ndarray] = [Image.fromarray(values), values]
    if values.dtype == np.uint16:
        Image.fromarray(values).save(tmp_path / "a.png")
        sources.append(tmp_path / "a.png")
    if not np.isnan(values).any():
        Image.fromarray(values).save(tmp_path / "a.tif")
        sources.append(tmp_path / "a.tif")
    for source in sources:
        np.testing.assert_array_equal(np.asarray(open_image(source))[0, :, 1], expected)


def test_odd_modes_become_rgb() -> None:
    assert open_image(Image.new("1", (3, 3), 1)).getpixel((1, 1)) == (255, 255, 255)
    assert open_image(Image.new("L", (3, 3), 77)).getpixel((1, 1)) == (77, 77, 77)
    assert open_image(Image.new("CMYK", (3, 3), (0, 0, 0, 255))).getpixel((1, 1)) == (0, 0, 0)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for suffix in ("gif", "webp", "tif", "png"):
        path = tmp_path / f"a.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        red, green, blue = open_image(path).getpixel((4, 4))
        assert red > 240
        assert max(green, blue) < 15


def test_draft_shrinks_jpeg_but_never_below(tmp_path: Path, photo: Photo) -> None:
    large = photo(tmp_path / "a.jpg", size=(1600, 900))
    assert open_image(large, draft=200).size == (400, 225)
    assert open_image(large, draft=800).size == (1600, 900)
    assert open_image(large).size == (1600, 900)
    assert open_image(photo(tmp_path / "b.png", size=(160, 90)), draft=8).size == (160, 90)


def test_arrays() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for array in (grey, grey[..., None], np.stack([grey] * 3, -1)):
        np.testing.assert_array_equal(np.asarray(open_image(array)), np.stack([grey] * 3, -1))
    assert open_image(np.ones((2, 2), bool)).getpixel((0, 0)) == (255, 255, 255)
    assert open_image(np.zeros((2, 2, 4), np.uint8)).getpixel((0, 0)) == (255, 255, 255)
    for bad in (np.zeros(3), np.zeros((2, 2, 5)), np.array([["a"]]), np.zeros((0, 4), np.uint8)):
        with pytest.raises(UnreadableImage):
            open_image(bad)


def test_sources_are_left_as_they_are(tmp_path: Path, photo: Photo) -> None:
    data = photo(tmp_path / "a.jpg", size=(64, 64)).read_bytes()
    lazy, plain, array = from_bytes(data), Image.new("RGBA", (4, 4)), np.full((3, 3), 0.5)
    before = plain.copy()
    for source in (lazy, plain, array):
        assert open_image(source, draft=8) is not source
    assert lazy.size == (64, 64)
    assert open_image(lazy).size == (64, 64)
    assert plain.tobytes() == before.tobytes()
    assert plain.mode == "RGBA"
    assert (array == 0.5).all()


def test_digests(tmp_path: Path, photo: Photo) -> None:
    one, same, other = (photo(tmp_path / f"{name}.png", seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert inspect_image(one) == inspect_image(same) != inspect_image(other)
    assert inspect_image(one) == inspect_image(from_bytes(one.read_bytes()))
    assert len(inspect_image(one)) == 32
    decoded = Image.open(one)
    assert inspect_image(decoded) == inspect_image(Image.open(same)) == inspect_image(np.asarray(decoded))
    # the same bytes in another shape are another picture
    assert inspect_image(Image.new("L", (2, 8))) != inspect_image(Image.new("L", (8, 2)))


def test_threads_may_share_a_source(tmp_path: Path, photo: Photo) -> None:
    data = photo(tmp_path / "a.jpg", size=(300, 200)).read_bytes()
    lazy, barrier = from_bytes(data), threading.Barrier(4)

    def work(draft: int | None) -> bytes:
        barrier.wait()
        return open_image(lazy, draft=draft).tobytes()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, [None, 50, None, 50]))
    assert found[0] == found[2] == open_image(Image.open(io.BytesIO(data))).tobytes()
    assert found[1] == found[3] != found[0]


def test_global_limits_of_pil_are_untouched(tmp_path: Path, photo: Photo) -> None:
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters), dict(Image.OPEN))
    open_image(photo(tmp_path / "a.png"))
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters), dict(Image.OPEN)) == before
