"""Image files from someone else: bombs, other formats under an image's name, and broken files."""

import io
import itertools
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image

from amr_tf.data.image_folder import read_image_folder
from amr_tf.data.preprocessing import ImagePreprocessor
from amr_tf.rest.servable import _read_examples
from tests.security.conftest import assert_sentence

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><script>1</script></svg>'
# How each is written, and whether its reader is Pillow's for a format that is not taken.
OTHER_FORMATS = ["PPM", "ICO", "PDF", "SGI", "PCX", "DDS", "TGA"]
TAKEN = {
    **{"PNG": ".png", "JPEG": ".jpg", "BMP": ".bmp", "WEBP": ".webp"},
    **{"TIFF": ".tif", "GIF": ".gif"},
}


def encoded(file_format, mode="RGB", size=(9, 7), **options):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype="uint8")
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, file_format, **options)
    return file.getvalue()


def png_of(width, height, data=b""):
    """A PNG of a few bytes that says that it has any size."""

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def assert_refused(path, content=None):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        ImagePreprocessor(8).batch([path])
    assert_sentence(caught)
    assert str(path) in str(caught.value)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(15_001, 10_000), (17_000, 17_000), (60_000, 60_000), (2**31, 2)])
def test_a_bomb(tmp_path, size):
    """A file of 100 bytes that would fill the memory."""
    assert_refused(tmp_path / "a.png", png_of(*size))
    # As one of the pictures of a servable's page.
    with pytest.raises(ValueError) as caught:
        _read_examples(tmp_path / "a.png", (8, 8, 1))
    assert_sentence(caught)


def test_a_bomb_of_text(tmp_path):
    text = b"zTXtcomment\0\0" + zlib.compress(b"a" * 100_000_000)
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    whole = png_of(8, 8, b"\0" * 72)
    assert_refused(tmp_path / "a.png", whole[:33] + chunk + whole[33:])


def test_postscript_is_not_run(tmp_path, monkeypatch, trap):
    """Pillow hands PostScript to Ghostscript, whatever a file's name, unless told the formats."""
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{trap}'\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    path = tmp_path / "a.png"
    path.write_bytes(POSTSCRIPT)
    with Image.open(path) as image, pytest.raises(OSError):
        image.load()
    assert trap.exists()  # So Pillow does it ...
    trap.unlink()
    assert_refused(path)  # ... and this package does not.


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.webp"])
def test_other_formats_under_an_images_name(tmp_path, name):
    for file_format in OTHER_FORMATS:
        assert_refused(tmp_path / name, encoded(file_format))
    for content in (SVG, b"", b"\0" * 100, b"GIF89a", b"#!/bin/sh\n", b"\x89PNG\r\n\x1a\n"):
        assert_refused(tmp_path / name, content)


@pytest.mark.parametrize("file_format", TAKEN)
def test_a_file_that_is_cut_off(tmp_path, file_format):
    content = encoded(file_format)
    path = tmp_path / f"a{TAKEN[file_format]}"
    for length in range(0, len(content) - 20, 17):
        assert_refused(path, content[:length])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_every_kind_of_pixel(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    if mode == "I;16":
        Image.fromarray(np.full((9, 7), 40_000, dtype="uint16")).save(path)
    else:
        path.write_bytes(encoded("JPEG" if mode == "CMYK" else "PNG", mode))
    (image,) = ImagePreprocessor(8).batch([path])
    assert image.shape == (8, 8, 3)
    assert image.dtype == np.uint8
    if mode == "I;16":
        assert (image == round(40_000 / 257)).all()


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "GIF", "TIFF"])
def test_a_film_is_its_first_image(tmp_path, file_format):
    frames = [Image.new("RGB", (8, 8), color) for color in ("white", "black", "red")]
    path = tmp_path / f"a{TAKEN[file_format]}"
    options = {"lossless": True} if file_format == "WEBP" else {}
    frames[0].save(path, file_format, save_all=True, append_images=frames[1:], **options)
    assert (ImagePreprocessor(8).batch([path]) == 255).all()


@settings(deadline=None, max_examples=60)
@given(
    file_format=st.sampled_from(sorted(TAKEN)),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.floats(0.2, 1),
)
def test_changed_bytes(tmp_path_factory, file_format, changes, cut):
    """Pillow's decoders raise nearly anything; it becomes a sentence, or there is an image."""
    content = bytearray(encoded(file_format, exif=Image.Exif().tobytes() or b"Exif\0\0"))
    for place, value in changes:
        content[round(place * (len(content) - 1))] = value
    path = tmp_path_factory.getbasetemp() / f"changed{TAKEN[file_format]}"
    path.write_bytes(content[: round(cut * len(content))])
    try:
        assert ImagePreprocessor(8).batch([path]).shape == (1, 8, 8, 3)
    except ValueError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)


def test_links(tmp_path):
    """Links are followed, as the user who made the folder may want; loops are not."""
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        (folder / name / "1.png").write_bytes(encoded("PNG"))
        (folder / name / "loop").symlink_to(folder)
    (outside / "2.png").write_bytes(encoded("PNG"))
    (folder / "a" / "2.png").symlink_to(outside / "2.png")
    source = read_image_folder(folder, ImagePreprocessor(8))
    assert source.class_names == ("a", "b")
    assert len(source.train) == 3
    # What is linked to is not shown, unless it is an image.
    (outside / "secret").write_text("password=hunter2")
    (folder / "a" / "3.png").symlink_to(outside / "secret")
    with pytest.raises(ValueError, match="cannot be read as an image") as caught:
        read_image_folder(folder, ImagePreprocessor(8))
    assert "hunter2" not in str(caught.value)


def test_folders_that_are_linked_to_each_other(tmp_path):
    """Thirty folders with two links each: 2^30 ways to the last, each folder is read once."""
    folders = [tmp_path / "outside" / f"{number:02d}" for number in range(30)]
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True)
        (folder / f"{number}.png").write_bytes(encoded("PNG"))
    for folder, following in itertools.pairwise(folders):
        (folder / "one").symlink_to(following)
        (folder / "other").symlink_to(following)
    (folders[-1] / "back").symlink_to(folders[0])
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "0.png").write_bytes(encoded("PNG"))
    (tmp_path / "data" / "a" / "more").symlink_to(folders[0])
    (tmp_path / "data" / "everything").symlink_to(tmp_path)  # Holds the data set.
    source = read_image_folder(tmp_path / "data", ImagePreprocessor(8))
    assert source.class_names == ("a", "b")
    assert np.bincount(source.train.labels).tolist() == [31, 1]


def test_names_with_line_breaks_and_escapes(tmp_path):
    (tmp_path / "a\nb\x1b[2J.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="cannot be read as an image"):
        # `commands` makes one printable line of it.
        read_image_folder(tmp_path, ImagePreprocessor(8))
