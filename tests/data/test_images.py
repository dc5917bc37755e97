"""Every way an image file can be odd or broken."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from facerecon.data.images import (
    decode_image,
    decode_labels,
    encode_jpeg,
    encode_png,
    read_image,
    write_image,
)
from facerecon.errors import InputError


@pytest.fixture
def picture() -> np.ndarray:
    """A smooth 40x60 picture whose corners all differ."""
    rows, columns = np.mgrid[0:40, 0:60]
    return np.stack([rows * 6, columns * 4, 255 - rows * 3 - columns * 2], axis=-1).clip(0, 255).astype(np.uint8)


def with_exif_orientation(jpeg: bytes, orientation: int) -> bytes:
    tiff = b"MM\x00\x2a" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    block = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


def png_with_orientation(png: bytes, orientation: int) -> bytes:
    tiff = b"MM\x00\x2a" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    chunk = struct.pack(">I", len(tiff)) + b"eXIf" + tiff + struct.pack(">I", zlib.crc32(b"eXIf" + tiff))
    return png[:33] + chunk + png[33:]


def assert_refused(path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_image(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    for word in words:
        assert word in message


def test_png_round_trip_is_exact(tmp_path, picture):
    write_image(tmp_path / "a.png", picture)
    assert np.array_equal(read_image(tmp_path / "a.png"), picture)


def test_jpeg_keeps_red_red(tmp_path):
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 250
    write_image(tmp_path / "a.jpg", red)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - red).max() < 6


EXPECTED_TURN = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: np.swapaxes(image, 0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.swapaxes(image[::-1, ::-1], 0, 1),
    8: lambda image: np.rot90(image, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(picture, orientation):
    stored = decode_image(encode_jpeg(picture), "plain")
    turned = decode_image(with_exif_orientation(encode_jpeg(picture), orientation), "turned")
    assert np.array_equal(turned, EXPECTED_TURN[orientation](stored))


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_transparency_follows_the_orientation(picture, orientation):
    alpha = np.zeros(picture.shape[:2], np.uint8)
    alpha[:20] = 255
    data = cv2.imencode(".png", np.dstack([picture[..., ::-1], alpha]))[1].tobytes()
    expected = np.where(alpha[..., None] > 0, picture, 255)
    turned = decode_image(png_with_orientation(data, orientation), "turned")
    assert np.array_equal(turned, EXPECTED_TURN[orientation](expected))


def test_gray_is_repeated(tmp_path, picture):
    write_image(tmp_path / "gray.png", picture[..., 0])
    assert np.array_equal(read_image(tmp_path / "gray.png"), np.repeat(picture[..., :1], 3, axis=2))


def test_sixteen_bit_is_reduced(tmp_path, picture):
    cv2.imwrite(str(tmp_path / "deep.png"), picture[..., ::-1].astype(np.uint16) * 257)
    image = read_image(tmp_path / "deep.png")
    assert image.dtype == np.uint8 and np.abs(image.astype(int) - picture).max() <= 1


def test_transparency_is_laid_over_white(tmp_path, picture):
    alpha = np.full(picture.shape[:2], 255, np.uint8)
    alpha[:20] = 0
    cv2.imwrite(str(tmp_path / "alpha.png"), np.dstack([picture[..., ::-1], alpha]))
    image = read_image(tmp_path / "alpha.png")
    assert (image[:20] == 255).all() and np.array_equal(image[20:], picture[20:])


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("part", [0.05, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path, capfd, suffix, part):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encode_jpeg(noise) if suffix == ".jpg" else encode_png(noise)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: min(int(len(data) * part), len(data) - 2)])
    assert_refused(path)
    assert capfd.readouterr().err == ""


def test_truncation_is_not_hidden_by_a_thumbnail(tmp_path, picture):
    thumbnail = encode_jpeg(picture[::2, ::2])
    data = encode_jpeg(picture)
    block = b"Exif\x00\x00" + thumbnail
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    (tmp_path / "whole.jpg").write_bytes(data)
    assert read_image(tmp_path / "whole.jpg").shape == picture.shape
    (tmp_path / "cut.jpg").write_bytes(data[:-40])
    assert_refused(tmp_path / "cut.jpg", "truncated")


def test_damaged_png_is_refused(tmp_path, picture, capfd):
    data = bytearray(encode_png(picture))
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "bad.png").write_bytes(bytes(data))
    assert_refused(tmp_path / "bad.png", "damaged")
    assert capfd.readouterr().err == ""


def test_empty_text_folder_and_missing(tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    assert_refused(tmp_path / "empty.jpg", "empty")
    (tmp_path / "note.jpg").write_text("this is no image\n" * 20)
    assert_refused(tmp_path / "note.jpg", "not an image")
    assert_refused(tmp_path, "folder")
    assert_refused(tmp_path / "nowhere.png", "no such file")


def test_absurd_and_tiny_sizes_are_refused(tmp_path):
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "bomb.png").write_bytes(data)
    assert_refused(tmp_path / "bomb.png", "100000x100000")
    (tmp_path / "dot.png").write_bytes(encode_png(np.zeros((4, 4), np.uint8)))
    assert_refused(tmp_path / "dot.png", "too small")


def test_labels_must_be_gray(picture):
    assert np.array_equal(decode_labels(encode_png(picture[..., 0] % 19), "labels"), picture[..., 0] % 19)
    with pytest.raises(InputError, match="colour.*gray PNG"):
        decode_labels(encode_png(picture), "colour")


def test_only_pictures_are_written(tmp_path, picture):
    with pytest.raises(ValueError, match="png or .jpg"):
        write_image(tmp_path / "a.gif", picture)
    with pytest.raises(ValueError, match="uint8"):
        write_image(tmp_path / "a.png", picture.astype(np.float32))
    assert list(tmp_path.iterdir()) == []
