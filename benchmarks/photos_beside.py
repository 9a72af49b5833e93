"""One picture of several models' reconstructions and mixes, from the grids of `photos.py`.

    python benchmarks/photos_beside.py beside.png "amr_tf=runs/photos/residual_60min.png" \
      "pythae RAE=runs/photos/pythae_rae_60min.png"
"""

import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

_ROWS = 5  # Per grid: originals, reconstructions, mixes of two and of three, blends of two.


def rows_of(path):
    """Returns the rows of a grid, arrays (H, W, channels)."""
    pixels = plt.imread(path)
    height = len(pixels) // _ROWS
    return [pixels[height * row : height * (row + 1)] for row in range(_ROWS)]


def main(picture, *models):
    named = [model.rsplit("=", 1) for model in models]
    grids = {name: rows_of(path) for name, path in named}
    first = next(iter(grids.values()))
    shown = {"photographs": first[0]}
    shown |= {f"{name}: reconstructions": grid[1] for name, grid in grids.items()}
    shown |= {"blends of pixels": first[4]}
    shown |= {f"{name}: mixes": grid[2] for name, grid in grids.items()}
    height, width = first[0].shape[:2]
    figure, axes = plt.subplots(
        len(shown), figsize=(8, 6 * len(shown) * height / width), gridspec_kw={"hspace": 0.02}
    )
    for axis, (label, pixels) in zip(axes, shown.items()):
        axis.imshow(pixels)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
        axis.set_ylabel(label.replace(": ", ":\n"), rotation=0, ha="right", va="center", fontsize=8)
    figure.savefig(picture, dpi=160, bbox_inches="tight", pad_inches=0.03)


if __name__ == "__main__":
    main(*sys.argv[1:])
