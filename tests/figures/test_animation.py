"""Films: their frames, read back."""

import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.animation import FFMpegWriter
from PIL import Image

from amr_tf.figures.animation import check_film_path, save_animation, there_and_back
from amr_tf.figures.sheet import label_inches
from tests.figures.test_grids import middle


def solid_rows(values):
    """A row of images of a single grey for each caption."""
    shape = (2, 2, 1)
    return {
        caption: np.broadcast_to(
            np.array(grey)[..., None, None, None] / 127.5 - 1, (*np.shape(grey), *shape)
        )
        for caption, grey in values.items()
    }


@given(steps=st.integers(2, 30))
def test_there_and_back(steps):
    order = there_and_back(steps)
    assert len(order) == 2 * steps - 2
    assert set(order) == set(range(steps))
    # Also from the end to the beginning it is a single step.
    assert (np.abs(np.diff([*order, order[0]])) == 1).all()


def test_a_gif_read_back(tmp_path):
    # Far apart: a GIF's palette has 256 colours, and older versions of Pillow join near ones.
    greys = {"one": [[0, 100, 200], [25, 50, 75]], "two": [[255, 128, 0], [150, 150, 175]]}
    path = tmp_path / "film.gif"
    save_animation(path, solid_rows(greys), "Title", frames_per_second=5)
    with Image.open(path) as film:
        assert film.n_frames == 4
        assert film.info["duration"] == 200
        assert film.info["loop"] == 0
        for frame, step in enumerate((0, 1, 2, 1)):
            film.seek(frame)
            pixels = np.asarray(film.convert("RGB"), "int")
            for row, lines in enumerate(greys.values()):
                for pair, line in enumerate(lines):
                    found = middle(pixels, row, pair, greys)
                    assert np.abs(np.array(found) - line[step]).max() <= 3, (frame, row, pair)


def test_a_gif_in_colour(tmp_path):
    images = np.full((1, 2, 2, 2, 3), -1.0)
    images[0, 0, ..., 0] = 1.0  # Red, then blue.
    images[0, 1, ..., 2] = 1.0
    path = tmp_path / "colour.gif"
    save_animation(path, {"": images})
    with Image.open(path) as film:
        for frame, colour in enumerate(([255, 0, 0], [0, 0, 255])):
            film.seek(frame)
            found = middle(np.asarray(film.convert("RGB"), "int"), 0, 0, [""], title=False)
            assert np.abs(np.array(found) - colour).max() <= 3


def test_wrong_file_names(tmp_path):
    for name in ("film.png", "film", "film.avi"):
        with pytest.raises(ValueError, match=f"A film is a .gif or .mp4 file; got '{name}'"):
            check_film_path(name)
    with pytest.raises(ValueError, match="A film is"):
        save_animation(tmp_path / "film.png", solid_rows({"": [[0, 1]]}))
    assert not list(tmp_path.iterdir())


def test_mp4_without_ffmpeg(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="'a.mp4' needs the program ffmpeg, which is not on PATH"):
        check_film_path("a.mp4")
    check_film_path("a.gif")


def test_rows_that_make_no_film(tmp_path):
    path = tmp_path / "film.gif"
    for rows, found in (
        ({"": [[0]]}, r"\(1, 1\)"),
        ({"a": [[0, 1]], "b": [[0, 1, 2]]}, r"\(1, 2\), \(1, 3\)"),
        ({"a": [[0, 1]], "b": [[0, 1], [0, 1]]}, r"\(1, 2\), \(2, 2\)"),
    ):
        with pytest.raises(ValueError, match=f"got .pairs, steps. of {found}"):
            save_animation(path, solid_rows(rows))
    with pytest.raises(ValueError, match="frames_per_second must be a positive integer; got 0"):
        save_animation(path, solid_rows({"": [[0, 1]]}), frames_per_second=0)
    assert not path.exists()


@pytest.mark.skipif(not FFMpegWriter.isAvailable(), reason="ffmpeg is not on PATH")
def test_an_mp4(tmp_path):
    path = tmp_path / "film.mp4"
    greys = [0, 120, 240]
    save_animation(path, solid_rows({"": [greys]}), frames_per_second=4)
    raw = tmp_path / "film.rgb"
    command = ["ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", raw]
    subprocess.run(command, check=True)
    height, width = int(0.8 * 120), int((label_inches([""]) + 0.75) * 120)
    frames = np.frombuffer(raw.read_bytes(), "uint8").reshape(4, height, width, 3)
    found = [middle(frame, 0, 0, [""], title=False)[0] for frame in frames]
    np.testing.assert_allclose(found, [0, 120, 240, 120], atol=8)
