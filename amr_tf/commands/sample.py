"""Generates new images: python -m amr_tf.sample --run=runs/digits

Models that were trained on mixes mix training images. Other models, and all models with
--kind=codes, decode codes drawn from the prior of a VAE, or else from a Gaussian mixture fitted to
training codes.
"""

from absl import flags

from amr_tf.commands.running import Command, define_run_flags
from amr_tf.figures.grids import sheet_figure
from amr_tf.files import user_path
from amr_tf.runs.comparison import caption_of, data_caption_of
from amr_tf.runs.folder import load_run, load_run_data, which_epoch
from amr_tf.runs.sampling import add_density, mixes_of

KINDS = ("mixes", "codes")


def define(values: flags.FlagValues) -> None:
    """Defines the command's own flags."""
    flags.DEFINE_string("run", None, "Folder of a training run.", required=True, flag_values=values)
    flags.DEFINE_integer(
        "count", 64, "Number of images.", lower_bound=1, upper_bound=4096, flag_values=values
    )
    flags.DEFINE_integer("columns", 8, "Images per row.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer(
        "seed", 0, "Seed of the draws.", lower_bound=0, upper_bound=2**31 - 1, flag_values=values
    )
    flags.DEFINE_enum(
        "kind",
        None,
        KINDS,
        "Mixes of training images, or images of codes that are drawn; by default mixes where the "
        "model was trained on them.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "out", None, "PNG to write; defaults to samples.png in the run folder.", flag_values=values
    )
    define_run_flags(values)


def main(given: flags.FlagValues, arguments: list[str]) -> None:
    """Runs the command with parsed flags."""
    del arguments
    path = user_path(given.out or f"{given.run}/samples.png")
    if path.suffix.lower() != ".png":
        raise ValueError(f"--out must end in .png; got '{path}'.")
    config, model = load_run(given.run, given.epoch)
    dataset = data_caption_of(config)
    if len(model.image_shape) != 3:
        raise ValueError(f"Data set '{dataset}' holds points; only images are drawn.")
    kind = given.kind or ("mixes" if model.trains_on_mixes and model.mixer else "codes")
    if kind == "mixes" and model.mixer is None:
        raise ValueError(f"The model of '{given.run}' has no mixer: --kind=mixes needs one.")
    if kind == "mixes" or not model.unit_prior:
        data = load_run_data(given.run, config, given.data_dir, given.allow_changed_data)
    if kind == "mixes":
        images = mixes_of(model, data, given.count, given.seed)
        what = f"mixes of {model.mixer.k} training images"
    else:
        if not model.unit_prior:
            add_density(given.run, model, data)
        images, what = model.sample(given.count, seed=given.seed), "samples"
    figure = sheet_figure(images, given.columns, f"{dataset}, {caption_of(config)}: {what}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    print(f"Drew {path} ({what}) with {which_epoch(given.run, given.epoch, model)}.")


COMMAND = Command("sample", __doc__, define, main)
