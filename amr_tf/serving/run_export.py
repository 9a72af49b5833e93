"""Exports the model of a training run: what `python -m amr_tf.export` does."""

import pathlib

from amr_tf.evaluation.sampling import add_density
from amr_tf.serving.export import check_arguments, export_model
from amr_tf.training.folder import RunFolder, load_data, load_run, which_epoch


def export_run(
    path, directory=None, keep=None, formats=("keras",), epoch="best", data_dir=None, notify=print
):
    """Exports a run's model as the next version of a servable.

    Args:
        path: the run's folder.
        directory: the servable's; None for `saved_models/` and the run folder's name.
        keep: as of `export_model`.
        formats: likewise.
        epoch: "best" for the best epoch's model, "last" for that of the newest checkpoint.
        data_dir: where the data lie, if not where the run found them, or None. Where they cannot
            be loaded, the export goes without a sheet of samples, and says so.
        notify: called with a sentence for what is exported, and for what is left out.

    Returns:
        The path of the new version.

    Raises:
        FileNotFoundError: the folder holds no run, or no model yet.
        ValueError, FileExistsError: as of `export_model`, or a file of the run is damaged.
    """
    directory = directory or pathlib.Path("saved_models") / pathlib.Path(path).resolve().name
    check_arguments(directory, keep, formats)
    config, model = load_run(path, epoch)
    notify(f"Exporting {which_epoch(path, epoch, model)} of '{path}'.")
    if data_dir is not None:
        config = config.replace(data_dir=data_dir)
    data = _load_data(config, notify)
    if data is not None:
        add_density(path, model, data, notify)
    return export_model(model, directory, keep, formats, RunFolder(path), data, notify)


def _load_data(config, notify):
    try:
        return load_data(config)
    except (ValueError, OSError) as error:
        notify(f"No sheet of samples and no class names: {error}")
        return None
