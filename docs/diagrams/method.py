"""Draws docs/images/method.png: python docs/diagrams/method.py"""

import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

OUT = pathlib.Path(__file__).resolve().parent.parent / "images" / "method.png"
INK, NETWORK, TENSOR, MIXER = "#263238", "#b2dfdb", "#eceff1", "#ffe0b2"
ENCODER_LOSS, CRITIC_LOSS = "#00695c", "#ad1457"


def box(axes, x, y, width, height, text, colour, size=12):
    """A box around the centre (x, y) with text in it."""
    corner = (x - width / 2, y - height / 2)
    axes.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle="round,pad=0.04", fc=colour, ec=INK, lw=1.2)
    )
    axes.text(x, y, text, ha="center", va="center", fontsize=size, color=INK)


def arrow(axes, start, end):
    """A straight arrow from one point to another."""
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=14, color=INK))


def draw():
    """The figure: one batch on its way through the networks, and both players' losses."""
    figure, axes = plt.subplots(figsize=(11, 5.2), dpi=120)
    axes.set_xlim(0, 11)
    axes.set_ylim(0.4, 5.6)
    axes.axis("off")

    box(axes, 0.85, 3.9, 1.3, 1.0, "images\n$x_1 \\ldots x_k$", TENSOR)
    box(axes, 2.55, 3.9, 1.1, 1.0, "encoder\n$f$", NETWORK)
    box(axes, 4.25, 4.6, 1.3, 0.7, "codes $h = f(x)$", TENSOR, 11)
    box(axes, 4.25, 3.2, 1.3, 0.9, "mixer  (4)(5)(6)\n$\\sum_j \\alpha_j h_j$", MIXER, 11)
    box(axes, 6.1, 3.9, 1.1, 1.0, "decoder\n$g$", NETWORK)
    box(axes, 7.9, 4.6, 1.45, 0.7, "reconstruction\n$g(h)$", TENSOR, 11)
    box(axes, 7.9, 3.2, 1.45, 0.7, "mix\n$g(\\mathrm{Mix}(h))$", TENSOR, 11)
    box(axes, 10.0, 3.9, 1.45, 1.0, "discriminator\n$D$", NETWORK)

    arrow(axes, (1.55, 3.9), (1.95, 3.9))
    arrow(axes, (3.15, 4.1), (3.55, 4.5))
    arrow(axes, (4.25, 4.2), (4.25, 3.7))
    arrow(axes, (4.95, 4.5), (5.5, 4.1))
    arrow(axes, (4.95, 3.3), (5.5, 3.7))
    arrow(axes, (6.7, 4.1), (7.13, 4.5))
    arrow(axes, (6.7, 3.7), (7.13, 3.3))
    arrow(axes, (8.67, 4.5), (9.23, 4.1))
    arrow(axes, (8.67, 3.3), (9.23, 3.7))
    # The real images pass by the auto-encoder on their way to the discriminator.
    axes.plot([0.85, 0.85, 10.0], [4.45, 5.3, 5.3], color=INK, lw=1.2)
    arrow(axes, (10.0, 5.3), (10.0, 4.43))
    axes.text(5.4, 5.36, "real images $x$", ha="center", va="bottom", fontsize=11, color=INK)

    losses(axes)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.99)
    return figure


def losses(axes):
    """Both players' objectives (paper, equation 3), term by term under a heading."""
    rows = [
        (2.2, ENCODER_LOSS, "Auto-encoder and mixer minimise"),
        (1.15, CRITIC_LOSS, "Discriminator minimises"),
    ]
    for y, colour, heading in rows:
        axes.text(0.2, y, heading, fontsize=12, color=colour, weight="bold", va="center")
    note = "(n): equation of the paper; 7.3: section of its supplement"
    axes.text(10.75, 2.2, note, fontsize=10, color=INK, va="center", ha="right")
    encoder = (
        (0.2, r"$\lambda\,\|x - g(h)\|$", "reconstruction  (1)"),
        (2.6, r"$+\ \ell(D(g(h)),\,1)$", "fool D with it  (2)"),
        (5.1, r"$+\ \ell(D(g(\mathrm{Mix}(h))),\,1)$", "fool D with mixes  (3)"),
        (8.0, r"$+\ \beta\,\|\mathrm{Mix}(h) - f(g(\mathrm{Mix}(h)))\|$", "consistency (7.3)"),
    )
    critic = (
        (0.2, r"$\ell(D(x),\,1)$", "real  (2)"),
        (2.6, r"$+\ \ell(D(g(h)),\,0)$", "reconstructions  (2)"),
        (5.1, r"$+\ \ell(D(g(\mathrm{Mix}(h))),\,0)$", "mixes  (3)"),
    )
    for y, colour, terms in ((1.85, ENCODER_LOSS, encoder), (0.8, CRITIC_LOSS, critic)):
        for x, formula, name in terms:
            axes.text(x, y, formula, fontsize=12.5, color=colour, va="center")
            axes.text(x + 0.1, y - 0.27, name, fontsize=10, color=colour, va="center")


if __name__ == "__main__":
    draw().savefig(OUT)
