"""Draws new images: python -m amr_tf.sample --run=runs/digits

A VAE's codes come from its prior, other methods' from a Gaussian mixture fitted on training codes.
"""

from absl import flags

from amr_tf import commands
from amr_tf.evaluation.figures import sheet_figure
from amr_tf.evaluation.sampling import add_density
from amr_tf.files import user_path
from amr_tf.training.comparison import caption_of
from amr_tf.training.folder import load_run, load_run_data, which_epoch

_RUN = flags.DEFINE_string("run", None, "Folder of a training run.", required=True)
_COUNT = flags.DEFINE_integer("count", 64, "How many images.", lower_bound=1, upper_bound=4096)
_COLUMNS = flags.DEFINE_integer("columns", 8, "Images in a row.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the codes.", lower_bound=0, upper_bound=2**31 - 1)
_EPOCH = flags.DEFINE_string(
    "epoch", "best", "best: the best epoch's model; last: the newest checkpoint's."
)
_OUT = flags.DEFINE_string("out", None, "PNG to write; by default samples.png in the run's folder.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where the data lie; by default the run's.")
_ALLOW = commands.define_allow_changed_data()


def main(argv):
    del argv
    path = user_path(_OUT.value or f"{_RUN.value}/samples.png")
    if path.suffix.lower() != ".png":
        raise ValueError(f"--out must end in .png; got '{path}'.")
    config, model = load_run(_RUN.value, _EPOCH.value)
    if len(model.image_shape) != 3:
        raise ValueError(f"Data set '{config.dataset}' holds points; only images are drawn.")
    if not model.unit_prior:
        data = load_run_data(_RUN.value, config, _DATA_DIR.value, _ALLOW.value)
        add_density(_RUN.value, model, data)
    title = f"{config.dataset}, {caption_of(config)}: samples"
    figure = sheet_figure(model.sample(_COUNT.value, seed=_SEED.value), _COLUMNS.value, title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    print(f"Drew {path} with {which_epoch(_RUN.value, _EPOCH.value, model)}.")


def run():
    """Runs the command; a script of your own calls it after registering its classes."""
    commands.run(main)


if __name__ == "__main__":
    run()
