"""Exports the model of a training run, for `python -m amr_tf.export`."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from amr_tf.data import ImageData
from amr_tf.files import user_path
from amr_tf.hub import make_repository, push_to_hub
from amr_tf.runs.config import TrainingConfig
from amr_tf.runs.folder import (
    ChangedData,
    RunFolder,
    load_run,
    load_run_data,
    which_epoch,
)
from amr_tf.runs.sampling import add_density
from amr_tf.savedmodel.export import check_arguments, export_model


def export_run(
    path: str | pathlib.Path,
    directory: str | pathlib.Path | None = None,
    keep: int | None = None,
    formats: Sequence[str] = ("keras",),
    epoch: str = "best",
    data_dir: str | None = None,
    notify: Callable[[str], Any] = print,
    allow_changed_data: bool = False,
    hub: str | None = None,
    hub_private: bool | None = None,
) -> pathlib.Path:
    """Exports a run's model as the next version of a servable.

    Args:
        path: the run's folder.
        directory: the servable's folder; None for `saved_models/` and the run folder's name.
        keep: see `export_model`.
        formats: see `export_model`.
        epoch: "best" for the best epoch's model, "last" for that of the newest checkpoint.
        data_dir: folder of the data; None for the run's. If the data cannot be loaded, the export
            has no sheet of samples, and `notify` is called.
        notify: called with messages about what is exported and what is left out.
        allow_changed_data: whether the data may have changed since the run was trained.
        hub: a repository on the Hugging Face Hub, "USER/NAME", to upload the model to after the
            export (see `amr_tf.hub.push_to_hub`); or None.
        hub_private: see `private` of `push_to_hub`.

    Returns:
        The path of the new version.

    Raises:
        FileNotFoundError: the folder holds no run, or no model yet.
        ValueError, FileExistsError: see `export_model`; also if a file of the run is damaged, or
            the data have changed.
        OSError: the Hub cannot be reached or refuses the request.
    """
    path = user_path(path)
    directory = user_path(directory or f"saved_models/{path.resolve().name}")
    check_arguments(directory, keep, formats)
    config, model = load_run(path, epoch)
    if hub is not None:
        make_repository(hub, hub_private)
    notify(f"Exporting {which_epoch(path, epoch, model)} of '{path}'.")
    data = _load_data(path, config, data_dir, allow_changed_data, notify)
    if data is not None:
        add_density(path, model, data, notify)
    version = export_model(model, directory, keep, formats, RunFolder(path), data, notify)
    if hub is not None:
        notify(f"Pushed to {push_to_hub(model, hub, RunFolder(path), data, hub_private, notify)}")
    return version


def _load_data(
    path: pathlib.Path,
    config: TrainingConfig,
    data_dir: str | None,
    allow_changes: bool,
    notify: Callable[[str], Any],
) -> ImageData | None:
    try:
        return load_run_data(path, config, data_dir, allow_changes)
    except ChangedData:
        raise
    except (ValueError, OSError) as error:
        notify(f"No sheet of samples and no class names: {error}")
        return None
