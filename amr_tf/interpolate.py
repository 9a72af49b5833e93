"""Draws mixes of held-out images: python -m amr_tf.interpolate --run=runs/digits

With several runs each image stands in a row for each of them: --run=runs/aegan,runs/acai,runs/k2
"""

from absl import flags

from amr_tf import commands
from amr_tf.evaluation.animation import check_film_path, save_animation
from amr_tf.evaluation.embedding import codes_figure
from amr_tf.evaluation.figures import interpolation_figure, interpolation_rows
from amr_tf.evaluation.held_out import draw_groups, draw_labelled_pairs, draw_sample
from amr_tf.evaluation.interpolation_figures import (
    crossover_figure,
    crossover_rows,
    triangle_figure,
)
from amr_tf.evaluation.label_figures import check_label_mixers, label_mix_figure
from amr_tf.files import user_path
from amr_tf.models.inference import PATHS
from amr_tf.registry import unknown_name
from amr_tf.training.comparison import caption_of, load_runs
from amr_tf.training.folder import RunFolder, which_epoch

_CODES = 1000  # How many images' codes are drawn: t-SNE of more takes minutes.

_RUN = flags.DEFINE_multi_string(
    "run",
    None,
    "Folder of a training run; several, with commas or by repeating the flag, are compared.",
    required=True,
)
_KIND = flags.DEFINE_string(
    "kind",
    "line",
    "line: from one image to another; triangle: mixes of three; bernoulli: feature maps replaced "
    "one by one; labels: mixes under several labels (supervised_amr); codes: PCA and t-SNE.",
)
_OUT = flags.DEFINE_string(
    "out",
    None,
    "File to write: .png, or for kinds line and bernoulli a film, .gif or .mp4; by default a PNG "
    "in the (first) run's folder.",
)
_PAIRS = flags.DEFINE_integer(
    "pairs", None, "Pairs of images, or triples; by default 4, triangles 1.", lower_bound=1
)
_STEPS = flags.DEFINE_integer(
    "steps",
    None,
    "Images from end to end, ends included; by default 9, along a triangle's side 7.",
    lower_bound=2,
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed that draws the images.", lower_bound=0)
_FPS = flags.DEFINE_integer("fps", 8, "Frames a second of a film.", lower_bound=1)
_PATH = flags.DEFINE_string(
    "path", "linear", "Kind line goes straight (linear) or around the origin (spherical)."
)
_EPOCH = flags.DEFINE_string(
    "epoch", "best", "best: the best epochs' models; last: the newest checkpoints'."
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As of amr_tf.train; by default the run's.")
_ALLOW = commands.define_allow_changed_data()


def _lines(models, data, title):
    images = _draw(data, pairs=4)
    steps = _STEPS.value or 9
    return interpolation_figure(models, *images, steps, title, path=_PATH.value)


def _triangles(models, data, title):
    images = _draw(data, pairs=1, members=3)
    return triangle_figure(models, *images, _STEPS.value or 7, title)


def _crossovers(models, data, title):
    images = _draw(data, pairs=4)
    title += ": feature maps of the right image"
    return crossover_figure(models, *images, _STEPS.value or 9, title, _SEED.value)


def _labels(models, data, title):
    pairs = _PAIRS.value or 4
    drawn = draw_labelled_pairs(data.held_out, data.image_size, pairs, _SEED.value)
    return label_mix_figure(models, *drawn, data.class_names, title, seed=_SEED.value)


def _codes(models, data, title):
    drawn = draw_sample(data.held_out, data.image_size, _CODES, _SEED.value)
    return codes_figure(models, *drawn, data.class_names, title, _SEED.value)


def _line_rows(models, data):
    steps = _STEPS.value or 9
    return interpolation_rows(models, *_draw(data, pairs=4), steps, path=_PATH.value)


def _crossover_rows(models, data):
    return crossover_rows(models, *_draw(data, pairs=4), _STEPS.value or 9, _SEED.value)


_FIGURES = {
    "line": _lines,
    "triangle": _triangles,
    "bernoulli": _crossovers,
    "labels": _labels,
    "codes": _codes,
}
_FILMS = {"line": _line_rows, "bernoulli": _crossover_rows}
# What a single run's images are called, under a title that names the run.
_SINGLE = {"line": "latent space", "bernoulli": "crossover", "labels": "mix", "triangle": "mixes"}


def _draw(data, pairs, members=2):
    return draw_groups(data.held_out, data.image_size, _PAIRS.value or pairs, members, _SEED.value)


def _run_folders(value):
    """The folders that a value of --run names; the name of one folder may hold commas."""
    if RunFolder(value).config.exists():
        return [value]
    return [path for path in value.split(",") if path]


def _out_path(paths, kind):
    """The file to write.

    Raises:
        ValueError: it has an ending that this kind cannot be written to.
    """
    if _OUT.value is None:
        name = "interpolation" if len(paths) == 1 else "comparison"
        return user_path(paths[0]) / f"{name}{'' if kind == 'line' else '_' + kind}.png"
    path = user_path(_OUT.value)
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


def main(argv):
    del argv
    kind = _KIND.value
    if kind not in _FIGURES:
        raise unknown_name("kind", kind, _FIGURES)
    if _PATH.value not in PATHS:
        raise unknown_name("path", _PATH.value, PATHS)
    paths = [path for value in _RUN.value for path in _run_folders(value)]
    if not paths:
        raise ValueError("--run needs the folder of a training run.")
    path = _out_path(paths, kind)
    models, data, config = load_runs(
        paths, _DATA_DIR.value, kind in ("labels", "codes"), _EPOCH.value, _ALLOW.value
    )
    shown = [
        f"'{run_path}': {which_epoch(run_path, _EPOCH.value, model)}"
        for run_path, model in zip(paths, models.values())
    ]
    if data.image_size is None and kind != "codes":
        raise ValueError(f"Data set '{data.name}' holds points; only images are drawn.")
    if kind == "labels":
        check_label_mixers(models)
    title = f"{data.name}, held-out images"
    if len(models) == 1:
        title = f"{data.name}, {caption_of(config)}"
        models = {_SINGLE.get(kind, ""): model for model in models.values()}
    film = path.suffix.lower() != ".png"
    drawn = _FILMS[kind](models, data) if film else _FIGURES[kind](models, data, title)
    path.parent.mkdir(parents=True, exist_ok=True)
    if film:
        save_animation(path, drawn, title, _FPS.value)
    else:
        drawn.savefig(path)
    print(*shown, f"Drew {path}", sep="\n")


def run():
    """Runs the command; a script of your own calls it after registering its classes."""
    commands.run(main)


if __name__ == "__main__":
    run()
