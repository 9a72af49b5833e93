"""Draws mixes of held-out images: python -m amr_tf.interpolate --run=runs/digits

Several runs are compared in rows, on the same images: --run=runs/aegan,runs/acai,runs/k2
"""

import pathlib
from typing import Any

import numpy as np
from absl import flags
from matplotlib.figure import Figure

from amr_tf.commands.running import Command, define_run_flags
from amr_tf.data import ImageData
from amr_tf.figures.animation import check_film_path, save_animation
from amr_tf.figures.embedding import codes_figure
from amr_tf.figures.grids import Models, interpolation_figure, interpolation_rows
from amr_tf.figures.held_out import draw_groups, draw_labelled_pairs, draw_sample
from amr_tf.figures.labels import check_label_mixers, label_mix_figure
from amr_tf.figures.looks import check_look_mixers, looks_figure
from amr_tf.figures.mixes import (
    crossover_figure,
    crossover_rows,
    triangle_figure,
)
from amr_tf.files import user_path
from amr_tf.models.inference import PATHS
from amr_tf.registry import unknown_name
from amr_tf.runs.comparison import caption_of, data_caption_of, load_runs
from amr_tf.runs.folder import RunFolder, which_epoch

_CODES = 1000  # Number of codes to draw; t-SNE of more takes minutes.


def _lines(models: Models, data: ImageData, title: str, given: flags.FlagValues) -> Figure:
    first, second = _draw(data, given, pairs=4)
    steps = given.steps or 9
    return interpolation_figure(models, first, second, steps, title, path=given.path)


def _triangles(models: Models, data: ImageData, title: str, given: flags.FlagValues) -> Figure:
    first, second, third = _draw(data, given, pairs=1, members=3)
    return triangle_figure(models, first, second, third, given.steps or 7, title)


def _crossovers(models: Models, data: ImageData, title: str, given: flags.FlagValues) -> Figure:
    first, second = _draw(data, given, pairs=4)
    title += ": feature maps of the right image"
    return crossover_figure(models, first, second, given.steps or 9, title, given.seed)


def _labels(models: Models, data: ImageData, title: str, given: flags.FlagValues) -> Figure:
    pairs = given.pairs or 4
    drawn = draw_labelled_pairs(data.held_out, data.image_size, pairs, given.seed)
    names: Any = data.class_names  # Not None for labelled data.
    return label_mix_figure(models, *drawn, names, title, seed=given.seed)


def _codes(models: Models, data: ImageData, title: str, given: flags.FlagValues) -> Figure:
    drawn = draw_sample(data.held_out, data.image_size, _CODES, given.seed)
    return codes_figure(models, *drawn, data.class_names, title, given.seed)


def _looks(models: Models, data: ImageData, title: str, given: flags.FlagValues) -> Figure:
    layouts, looks = _draw(data, given, pairs=6)
    return looks_figure(models, layouts, looks, f"{title}: layout by column, look by row")


def _line_rows(models: Models, data: ImageData, given: flags.FlagValues) -> dict[str, Any]:
    first, second = _draw(data, given, pairs=4)
    return interpolation_rows(models, first, second, given.steps or 9, path=given.path)


def _crossover_rows(models: Models, data: ImageData, given: flags.FlagValues) -> dict[str, Any]:
    first, second = _draw(data, given, pairs=4)
    return crossover_rows(models, first, second, given.steps or 9, given.seed)


_FIGURES = {
    "line": _lines,
    "triangle": _triangles,
    "bernoulli": _crossovers,
    "labels": _labels,
    "codes": _codes,
    "looks": _looks,
}
# Checks of the models before anything is drawn.
_CHECKS = {"labels": check_label_mixers, "looks": check_look_mixers}
_FILMS = {"line": _line_rows, "bernoulli": _crossover_rows}
# Captions for a single run, which the title names.
_SINGLE = {"line": "latent space", "bernoulli": "crossover", "labels": "mix", "triangle": "mixes"}


def _draw(
    data: ImageData, given: flags.FlagValues, pairs: int, members: int = 2
) -> list[np.ndarray]:
    return draw_groups(data.held_out, data.image_size, given.pairs or pairs, members, given.seed)


def _run_folders(value: str) -> list[str]:
    """Returns the folders in a value of --run; the name of a single run may contain commas."""
    if RunFolder(value).config.exists():
        return [value]
    return [path for path in value.split(",") if path]


def _out_path(out: str | None, paths: list[str], kind: str) -> pathlib.Path:
    """Returns the path of the file to write.

    Raises:
        ValueError: its ending is not allowed for this kind.
    """
    if out is None:
        name = "interpolation" if len(paths) == 1 else "comparison"
        return user_path(paths[0]) / f"{name}{'' if kind == 'line' else '_' + kind}.png"
    path = user_path(out)
    if not path.suffix:
        path = path.with_suffix(".png")
    suffix = path.suffix.lower()
    if suffix not in (".png", ".gif", ".mp4"):
        raise ValueError(f"--out must end in .png, .gif or .mp4; got '{path}'.")
    if suffix != ".png":
        if kind not in _FILMS:
            raise ValueError(
                f"Films (.gif, .mp4) are of kinds {' and '.join(_FILMS)}; kind {kind} is drawn as "
                "a .png."
            )
        check_film_path(path)
    return path


def define(values: flags.FlagValues) -> None:
    """Defines the command's own flags."""
    flags.DEFINE_multi_string(
        "run",
        None,
        "Folder of a training run. Several are compared: separate them by commas or repeat the "
        "flag.",
        required=True,
        flag_values=values,
    )
    flags.DEFINE_string(
        "kind",
        "line",
        "line: from one image to another; triangle: mixes of three images; bernoulli: feature maps "
        "replaced one by one; labels: mixes with several labels (supervised_amr); codes: PCA and "
        "t-SNE; looks: the layout of one image with the look of another (mixer style).",
        flag_values=values,
    )
    flags.DEFINE_string(
        "out",
        None,
        "File to write: .png, or for kinds line and bernoulli a film (.gif or .mp4); defaults to a "
        "PNG in the (first) run's folder.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "pairs",
        None,
        "Number of pairs of images, or triples; defaults to 4 (triangle: 1, looks: 6).",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "steps",
        None,
        "Number of images from end to end, including both; defaults to 9 (triangle: 7).",
        lower_bound=2,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "seed", 0, "Seed for choosing the images.", lower_bound=0, flag_values=values
    )
    flags.DEFINE_integer("fps", 8, "Frames per second of films.", lower_bound=1, flag_values=values)
    flags.DEFINE_string(
        "path",
        None,
        "Path of kind line: straight (linear) or around the origin (spherical); defaults to the "
        "path of the model's mixer.",
        flag_values=values,
    )
    define_run_flags(values)


def main(given: flags.FlagValues, arguments: list[str]) -> None:
    """Runs the command with parsed flags."""
    del arguments
    kind = given.kind
    if kind not in _FIGURES:
        raise unknown_name("kind", kind, _FIGURES)
    if given.path not in (None, *PATHS):
        raise unknown_name("path", given.path, PATHS)
    paths = [path for value in given.run for path in _run_folders(value)]
    if not paths:
        raise ValueError("--run needs the folder of a training run.")
    path = _out_path(given.out, paths, kind)
    models, data, config = load_runs(
        paths, given.data_dir, kind in ("labels", "codes"), given.epoch, given.allow_changed_data
    )
    shown = [
        f"'{run_path}': {which_epoch(run_path, given.epoch, model)}"
        for run_path, model in zip(paths, models.values())
    ]
    if data.image_size is None and kind != "codes":
        raise ValueError(f"Data set '{data.name}' holds points; only images are drawn.")
    if kind in _CHECKS:
        _CHECKS[kind](models)
    dataset = data_caption_of(config)
    title = f"{dataset}, held-out images"
    if len(models) == 1:
        title = f"{dataset}, {caption_of(config)}"
        models = {_SINGLE.get(kind, ""): model for model in models.values()}
    film = path.suffix.lower() != ".png"
    drawn: Any = (
        _FILMS[kind](models, data, given) if film else _FIGURES[kind](models, data, title, given)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    if film:
        save_animation(path, drawn, title, given.fps)
    else:
        drawn.savefig(path)
    print(*shown, f"Drew {path}", sep="\n")


COMMAND = Command("interpolate", __doc__, define, main)
