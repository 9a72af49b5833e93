"""A figure with images, text and marks at positions in inches."""

import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path

CELL_INCHES = 0.75  # For an image and the gap to its neighbour.
LABEL_INCHES = 1.7  # For a caption before a row.
_IMAGE_SHARE = 0.96
_TITLE_INCHES = 0.4
_MARGIN_INCHES = 0.05
_TITLE_POINTS = 11
_TEXT_POINTS = 9
_CAPTION_CHARACTERS = 21  # Fit into LABEL_INCHES.
_CAPTION_LINES = 4
_CAPTION_GAP_INCHES = 0.12  # Between a caption and the images.


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Converts float images in [-1, 1] to uint8; values outside are clipped."""
    return np.clip(np.round((np.asarray(images) + 1.0) * 127.5), 0, 255).astype("uint8")


def cell_pixels(image: np.ndarray) -> np.ndarray:
    """Converts a float image (H, W, C) in [-1, 1] for `Axes.imshow`: uint8, (H, W) if C is 1."""
    pixels = to_uint8(image)
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def shortened(name: str, most: int) -> str:
    """Shortens a name to `most` characters; dots replace the rest."""
    return name if len(name) <= most else name[: most - 1] + "…"


def label_inches(captions: Iterable[str]) -> float:
    """Returns the width of a column of captions, including the gap to the images."""
    font = FontProperties(size=_TEXT_POINTS)
    lines = [line for caption in captions for line in _lines(caption)]
    points = max(text_to_path.get_text_width_height_descent(line, font, False)[0] for line in lines)
    return _MARGIN_INCHES + points / 72 + _CAPTION_GAP_INCHES


def _lines(caption: str) -> list[str]:
    return textwrap.wrap(
        caption, _CAPTION_CHARACTERS, max_lines=_CAPTION_LINES, placeholder="…"
    ) or [""]


class Sheet:
    """A figure whose parts are placed in inches, from the left edge and from below the title.

    Args:
        width: width in inches.
        height: height in inches, without the title.
        title: text above the parts, or None.

    Attributes:
        figure: the `matplotlib.figure.Figure`.
    """

    def __init__(self, width: float, height: float, title: str | None = None) -> None:
        self.top = _TITLE_INCHES if title else _MARGIN_INCHES
        self.width, self.height = width, height + self.top
        self.figure = Figure(figsize=(self.width, self.height), dpi=120)
        FigureCanvasAgg(self.figure)
        if title:
            middle = -0.5 * self.top
            size = min(_TITLE_POINTS, 0.95 * width * 72 / (0.62 * len(title)))
            self.text(title, width / 2, middle, ha="center", fontsize=size)

    def image(self, image: np.ndarray, left: float, top: float, cell: float = CELL_INCHES) -> None:
        """Draws a float image (H, W, C) in [-1, 1], C 1 or 3, into a square cell."""
        bottom = self.height - self.top - top - cell
        size = _IMAGE_SHARE * cell
        box = (left / self.width, bottom / self.height, size / self.width, size / self.height)
        axes = self.figure.add_axes(box)
        axes.imshow(cell_pixels(image), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_axis_off()

    def text(
        self,
        text: str,
        x: float,
        y: float,
        ha: str = "left",
        fontsize: float = _TEXT_POINTS,
        **kwargs: Any,
    ) -> None:
        """Writes text whose vertical middle is `y` inches below the title."""
        place = x / self.width, 1 - (self.top + y) / self.height
        # A class may be called "$5".
        kwargs = {"ha": ha, "va": "center", "fontsize": fontsize, "parse_math": False, **kwargs}
        self.figure.text(*place, text, **kwargs)

    def caption(self, text: str, middle: float, width: float = LABEL_INCHES) -> None:
        """Writes a caption in the `width` before a row, in several lines if it is long."""
        self.text("\n".join(_lines(text)), width - _CAPTION_GAP_INCHES, middle, ha="right")

    def mark(self, share: float, x: float, y: float, size: float = 0.13) -> None:
        """Draws a square around (x, y) whose lower `share`, from 0 to 1, is filled."""
        left, bottom = x - size / 2, self.height - self.top - y - size / 2
        inches: dict[str, Any] = {"transform": self.figure.dpi_scale_trans, "linewidth": 0.8}
        self.figure.add_artist(
            Rectangle((left, bottom), size, size * share, facecolor="tab:green", **inches)
        )
        self.figure.add_artist(
            Rectangle((left, bottom), size, size, fill=False, edgecolor="black", **inches)
        )
