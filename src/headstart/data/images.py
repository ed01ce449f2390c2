"""Image files opened safely: six formats, known by content, first frame, at most 100 megapixels."""

from __future__ import annotations

import hashlib
import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from headstart.errors import DataError, ResourceError

__all__ = ["FORMATS", "MAX_PIXELS", "SUFFIXES", "UnreadableImage", "from_bytes", "inspect_image", "open_image"]

FORMATS = "JPEG, PNG, WebP, BMP, GIF or TIFF"
MAX_PIXELS = 100_000_000
"""Width times height above this is refused: such a file is a mistake or an attack."""
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
"""What image files are usually called; used to guess roles, never to open a file."""

Stream = io.BufferedReader | io.BytesIO
# The plugin classes are called directly: PIL.Image.open would consult a process-wide registry and
# warn above a process-wide pixel limit, and neither may be changed for whoever else uses PIL.
_SIGNATURES: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"GIF87a", GifImageFile),
    (b"GIF89a", GifImageFile),
    (b"BM", BmpImageFile),
    (b"II*\0", TiffImageFile),
    (b"MM\0*", TiffImageFile),
    (b"II+\0", TiffImageFile),
    (b"MM\0+", TiffImageFile),
)
_ENCODED = "headstart.encoded"
"""Key of ``Image.info`` under which `from_bytes` keeps the file's bytes."""


class UnreadableImage(DataError):
    """One image that cannot be used; ``reason`` says why, without naming the file."""

    def __init__(self, reason: str, source: object = None) -> None:
        """Keeps the reason; the message also names ``source`` where that is a path."""
        self.reason = reason
        super().__init__(f"{source}: {reason}" if isinstance(source, (str, Path)) else f"image: {reason}")


def open_image(source: Path | Image.Image | NDArray[Any], *, draft: int | None = None) -> Image.Image:
    """The first frame as a plain 8-bit RGB image, upright; transparency lies over white.

    The source is left as it is, so threads may share it. Grey values beyond 8 bits are scaled by
    1/257 (16 bits) or by their maximum (more); floats in [0, 1] by 255.

    Args:
        source: Path of a file, a PIL image, or an array ``(H, W)`` or ``(H, W, 1|3|4)``.
        draft: JPEG files may be shrunk while decoding as long as both sides keep at least this
            many pixels; None decodes at full size.

    Raises:
        UnreadableImage: If the file is missing, damaged, too large or of another format.
        ResourceError: If memory runs out.
    """
    with _reasons(source):
        if isinstance(source, np.ndarray):
            return _rgb(_from_array(source))
        if isinstance(source, Image.Image) and _ENCODED not in source.info:
            return _rgb(ImageOps.exif_transpose(source))
        with _stream(source) as stream:
            image = _decoded(stream, draft)
            _turn_upright(image)
            return _rgb(image)


def inspect_image(source: Path | Image.Image | NDArray[Any]) -> str:
    """Content digest (32 hex digits of SHA-256) of an image that was decoded to its last byte.

    Files are digested as they lie on disk, other images by mode, size and pixels.

    Raises:
        UnreadableImage: As `open_image`.
        ResourceError: If memory runs out.
    """
    with _reasons(source):
        if isinstance(source, np.ndarray) or (isinstance(source, Image.Image) and _ENCODED not in source.info):
            image = _from_array(source) if isinstance(source, np.ndarray) else source
            _refuse_huge(image)
            header = f"{image.mode} {image.size} ".encode()
            return hashlib.sha256(header + image.tobytes()).hexdigest()[:32]
        with _stream(source) as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()[:32]
            _decoded(stream, draft=1)
            return digest


def from_bytes(data: bytes) -> Image.Image:
    """A PIL image over the bytes of an image file; `open_image` decodes it without keeping the pixels.

    Raises:
        UnreadableImage: If the bytes are no image of an allowed format and size.
    """
    with _reasons(None):
        image = _identified(io.BytesIO(data))
        image.info[_ENCODED] = data
        return image


@contextmanager
def _reasons(source: object) -> Iterator[None]:
    """Turns whatever a damaged file makes PIL raise into `UnreadableImage`."""
    try:
        yield
    except UnreadableImage as error:
        raise UnreadableImage(error.reason, source) from error.__cause__
    except MemoryError as error:
        advice = "set HEADSTART_THREADS to a smaller number, or shrink the image"
        raise ResourceError(f"out of memory while decoding {source}; {advice}") from error
    except FileNotFoundError as error:
        raise UnreadableImage("file does not exist", source) from error
    except PermissionError as error:
        raise UnreadableImage("permission denied", source) from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"more than {MAX_PIXELS // 10**6} megapixels", source) from error
    except Exception as error:
        raise UnreadableImage(_why(error), source) from error


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    told = isinstance(error, (OSError, ValueError, SyntaxError)) and str(error).strip()
    return f"damaged image file ({told.splitlines()[0][:120]})" if told else "damaged image file"


@contextmanager
def _stream(source: Path | Image.Image | NDArray[Any]) -> Iterator[Stream]:
    if isinstance(source, Image.Image):
        yield io.BytesIO(source.info[_ENCODED])
        return
    path = Path(str(source))
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
        raise UnreadableImage("is a folder, not an image" if stat.S_ISDIR(mode) else "not a regular file")
    with path.open("rb") as stream:
        yield stream


def _identified(stream: Stream) -> ImageFile:
    stream.seek(0)
    head = stream.read(16)
    stream.seek(0)
    if not head:
        raise UnreadableImage("empty file")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        kind: type[ImageFile] = WebPImageFile
    else:
        found = next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), None)
        if found is None:
            raise UnreadableImage(f"not an image: its content is not {FORMATS}")
        kind = found
    image = kind(stream)
    _refuse_huge(image)
    return image


def _decoded(stream: Stream, draft: int | None) -> ImageFile:
    image = _identified(stream)
    if draft is not None and isinstance(image, JpegImageFile):
        image.draft(None, (draft, draft))
    image.load()
    return image


def _refuse_huge(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnreadableImage(f"{width} x {height} pixels; the limit is {MAX_PIXELS // 10**6} megapixels")
    if width * height == 0:
        raise UnreadableImage("image without pixels")


def _turn_upright(image: Image.Image) -> None:
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # noqa: BLE001 - a broken note about the camera does not spoil the picture
        return


def _rgb(image: Image.Image) -> Image.Image:
    """A plain RGB copy that no longer knows its file."""
    _refuse_huge(image)
    if image.mode[0] == "I" or image.mode == "F":
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        page = Image.new("RGB", image.size, "white")
        page.paste(layer, mask=layer.getchannel("A"))
        return page
    return image.convert("RGB")


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    top = finite.max(initial=0.0)
    if values.dtype.kind == "f" and top <= 1:
        finite *= 255
    elif top > 255:
        finite *= 255 / max(top, 65535)
    return np.clip(np.rint(finite), 0, 255).astype(np.uint8)


def _from_array(values: NDArray[Any]) -> Image.Image:
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    fits = values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))
    if not fits or values.dtype.kind not in "buif":
        found = f"array of shape {values.shape} and type {values.dtype}"
        raise UnreadableImage(f"{found}; an image is (H, W) or (H, W, 1|3|4) numbers")
    if values.dtype.kind == "b":
        values = values.astype(np.uint8) * 255
    return Image.fromarray(np.ascontiguousarray(values if values.dtype == np.uint8 else _eight_bits(values)))
