"""Generates new images: python -m amr_tf.sample --run=runs/digits

Codes are drawn from the prior of a VAE, or else from a Gaussian mixture fitted to training codes.
"""

from absl import flags

from amr_tf.commands.running import Command, define_run_flags
from amr_tf.figures.grids import sheet_figure
from amr_tf.files import user_path
from amr_tf.runs.comparison import caption_of
from amr_tf.runs.config import in_short
from amr_tf.runs.folder import load_run, load_run_data, which_epoch
from amr_tf.runs.sampling import add_density


def define(values: flags.FlagValues) -> None:
    """Defines the command's own flags."""
    flags.DEFINE_string("run", None, "Folder of a training run.", required=True, flag_values=values)
    flags.DEFINE_integer(
        "count", 64, "Number of images.", lower_bound=1, upper_bound=4096, flag_values=values
    )
    flags.DEFINE_integer("columns", 8, "Images per row.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer(
        "seed", 0, "Seed of the codes.", lower_bound=0, upper_bound=2**31 - 1, flag_values=values
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
    dataset = in_short("dataset", config.dataset)
    if len(model.image_shape) != 3:
        raise ValueError(f"Data set '{dataset}' holds points; only images are drawn.")
    if not model.unit_prior:
        data = load_run_data(given.run, config, given.data_dir, given.allow_changed_data)
        add_density(given.run, model, data)
    title = f"{dataset}, {caption_of(config)}: samples"
    figure = sheet_figure(model.sample(given.count, seed=given.seed), given.columns, title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    print(f"Drew {path} with {which_epoch(given.run, given.epoch, model)}.")


COMMAND = Command("sample", __doc__, define, main)
