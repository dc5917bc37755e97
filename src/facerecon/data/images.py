"""Reading and writing pictures: sRGB uint8 RGB in memory, whatever the file holds.

A file is checked before it is decoded (truncation, size), since decoders either guess the missing half of a picture,
or print lines of their own on stderr.
"""

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from facerecon.artefacts import atomic_file, read_bytes
from facerecon.errors import InputError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
MAX_PIXELS = 200_000_000
MIN_SIDE = 16

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"

# The eight orientations of EXIF tag 274, in its order (1 = upright).
_ORIENTATIONS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda image: image,
    lambda image: image[:, ::-1],
    lambda image: image[::-1, ::-1],
    lambda image: image[::-1],
    lambda image: image.swapaxes(0, 1),
    lambda image: image.swapaxes(0, 1)[:, ::-1],
    lambda image: image[::-1, ::-1].swapaxes(0, 1),
    lambda image: image.swapaxes(0, 1)[::-1],
)


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Photograph as (H, W, 3) uint8 sRGB, upright.

    EXIF orientation is applied, gray is repeated, 16-bit is reduced, transparency is laid over white.
    Raises InputError, one line naming the file, for a missing path, a folder, an empty, truncated or unreadable file, a
    side under 16 pixels, or more than 200 million pixels.
    """
    return decode_image(read_bytes(path, "give a JPEG or PNG image"), str(path))


def decode_image(data: bytes, name: str) -> np.ndarray:
    """Decode the bytes of an image file as `read_image` does; `name` is used in errors."""
    _check_structure(data, name)
    colour = _decode(data, cv2.IMREAD_COLOR, name)
    if data.startswith(_JPEG_SIGNATURE):
        return _checked_size(np.ascontiguousarray(colour[..., ::-1]), name)
    stored = _decode(data, cv2.IMREAD_UNCHANGED, name)
    if stored.ndim == 3 and stored.shape[2] == 4:
        colour = _over_white(colour, _upright_alpha(data, colour, stored[..., 3], name))
    return _checked_size(np.ascontiguousarray(colour[..., ::-1]), name)


def decode_labels(data: bytes, name: str) -> np.ndarray:
    """Decode a one-channel 8-bit PNG to (H, W) uint8; `name` is used in errors."""
    _check_structure(data, name)
    labels = _decode(data, cv2.IMREAD_UNCHANGED, name)
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise InputError(f"{name}: labels must be an 8-bit gray PNG, this one has shape {labels.shape} {labels.dtype}")
    return labels


def encode_jpeg(image: np.ndarray, quality: int = 95, full_chroma: bool | None = None) -> bytes:
    """JPEG bytes of an (H, W, 3) uint8 sRGB image.

    full_chroma: store colour at full resolution, else at half (4:2:0, as cameras do); None: from quality 90 on.
    """
    full_chroma = quality >= 90 if full_chroma is None else full_chroma
    chroma = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444] if full_chroma else []
    return _encode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality, *chroma])


def encode_png(image: np.ndarray) -> bytes:
    """PNG bytes of an (H, W, 3) uint8 sRGB image or of (H, W) uint8 labels."""
    return _encode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 6])


def write_image(path: str | os.PathLike, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 sRGB or (H, W) uint8 as PNG or JPEG, by the suffix, atomically."""
    path = Path(path)
    encoders = {".png": encode_png, ".jpg": encode_jpeg, ".jpeg": encode_jpeg}
    if path.suffix.lower() not in encoders:
        raise ValueError(f"{path}: image files are written as .png or .jpg")
    with atomic_file(path) as temporary:
        temporary.write_bytes(encoders[path.suffix.lower()](image))


def _encode(suffix: str, image: np.ndarray, options: list[int]) -> bytes:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"expected (H, W, 3) or (H, W) uint8, not {image.shape} {image.dtype}")
    pixels = image[..., ::-1] if image.ndim == 3 else image
    done, encoded = cv2.imencode(suffix, np.ascontiguousarray(pixels), options)
    if not done:
        raise ValueError(f"an image of shape {image.shape} cannot be encoded as {suffix}")
    return encoded.tobytes()


def _decode(data: bytes, flags: int, name: str) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"{name}: not an image that can be decoded (damaged, or no image at all); give a JPEG or PNG")
    return image


def _checked_size(image: np.ndarray, name: str) -> np.ndarray:
    _check_sides(image.shape[1], image.shape[0], name)
    return image


def _check_sides(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        limit = MAX_PIXELS // 10**6
        raise InputError(f"{name}: {width}x{height} pixels is beyond the limit of {limit} million; shrink it")
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{name}: {width}x{height} pixels is too small; the shorter side needs {MIN_SIDE} at least")


def _check_structure(data: bytes, name: str) -> None:
    """Refuse truncated or damaged JPEG and PNG files and absurd sizes before the decoder allocates or complains."""
    if data.startswith(_PNG_SIGNATURE):
        size, complete = _png_size(data)
    elif data.startswith(_JPEG_SIGNATURE):
        size, complete = _jpeg_size(data)
    else:
        return
    if size is not None:
        _check_sides(*size, name)
    if not complete:
        raise InputError(f"{name}: the image is truncated or damaged; copy or download it again")


def _png_size(data: bytes) -> tuple[tuple[int, int] | None, bool]:
    """((width, height), whether all chunks up to IEND are there with the right checksums) (PNG specification, 5.3)."""
    size, position = None, len(_PNG_SIGNATURE)
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        end = position + 8 + length
        if kind == b"IHDR" and length >= 8:
            header = data[position + 8 : position + 16]
            size = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")
        if data[end : end + 4] != zlib.crc32(data[position + 4 : end]).to_bytes(4, "big"):
            return size, False
        if kind == b"IEND":
            return size, size is not None
        position = end + 4
    return size, False


def _jpeg_size(data: bytes) -> tuple[tuple[int, int] | None, bool]:
    """((width, height), whether a scan follows and an end marker closes it) (ITU T.81, annex B).

    Inside a scan 0xFF is always followed by 0x00 or a marker, so the first FF D9 after the first scan's header is the
    end of the image, not chance and not an embedded thumbnail's.
    """
    size, position = None, 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return size, False
        marker = data[position + 1]
        if marker in (0xFF, 0x01) or 0xD0 <= marker <= 0xD7:
            position += 1 if marker == 0xFF else 2
            continue
        if marker == 0xD9:
            return size, False
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(data[position + k : position + k + 2], "big") for k in (5, 7))
            size = width, height
        position += 2 + length
        if marker == 0xDA:
            return size, size is not None and data.find(b"\xff\xd9", position) >= 0
    return size, False


def _upright_alpha(data: bytes, upright: np.ndarray, alpha: np.ndarray, name: str) -> np.ndarray:
    """Alpha plane in the orientation of `upright`: the decoder turns colour by EXIF, but never the stored planes."""
    plain = _decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, name)
    for turn in _ORIENTATIONS:
        if turn(plain).shape == upright.shape and np.array_equal(turn(plain), upright):
            return turn(alpha)
    raise InputError(f"{name}: its orientation tag cannot be applied; save it upright")


def _over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    opacity = (alpha.astype(np.float32) / np.iinfo(alpha.dtype).max)[..., None]
    return np.round(colour * opacity + 255.0 * (1.0 - opacity)).astype(np.uint8)
