"""Several training runs side by side: their captions, and whether they can be compared."""

import collections
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from amr_tf.data import DATASETS
from amr_tf.files import user_path
from amr_tf.mixers import MIXERS
from amr_tf.models import METHODS, ResynthesisModel
from amr_tf.registry import Call, parse_call
from amr_tf.runs.config import TrainingConfig, in_short
from amr_tf.runs.folder import RunFolder, load_run, load_run_data

# Data sets that are named after their folder.
_FOLDERS = ("image_folder", "attribute_folder")


def data_caption_of(config: TrainingConfig) -> str:
    """Returns the name of a run's data in figures: that of the data set or of its folder.

    Args:
        config: a `TrainingConfig`.
    """
    if config.data_dir is not None and parse_call(config.dataset).name in _FOLDERS:
        return user_path(config.data_dir).resolve().name
    return in_short("dataset", config.dataset)


def caption_of(config: Any) -> str:
    """Returns a run's caption in figures, such as "AMR mixup k=2", "AE+GAN" or "ACAI".

    Args:
        config: a `TrainingConfig`.
    """
    config = config.resolve()
    name = METHODS.parse(config.method).name
    method = METHODS.get(name)
    caption = method.title or name
    if not method.compared_by_mixer or config.mixer == "none":
        return caption
    name = MIXERS.parse(config.mixer).name
    caption += f" {getattr(MIXERS.get(name), 'title', None) or name}"
    return caption if config.k is None else f"{caption} k={config.k}"


def captions_of(configs: Mapping[Any, TrainingConfig]) -> dict[Any, str]:
    """Returns a unique caption for each run: `caption_of`, with the folder's name if needed.

    Args:
        configs: dictionary from run folders to `TrainingConfig`s.

    Returns:
        Dictionary from run folders to captions.
    """
    captions = {path: caption_of(config) for path, config in configs.items()}
    for name in (lambda path: pathlib.Path(path).resolve().name, str):
        counts = collections.Counter(captions.values())
        captions = {
            path: f"{caption_of(configs[path])} ({name(path)})" if counts[caption] > 1 else caption
            for path, caption in captions.items()
        }
    return captions


def load_runs(
    paths: Sequence[str],
    data_dir: str | None = None,
    same_labels: bool = False,
    epoch: str = "best",
    allow_changed_data: bool = False,
) -> tuple[dict, Any, Any]:
    """Loads the models of runs on the same data, and the data.

    Args:
        paths: run folders.
        data_dir: folder of the data, or None for the runs' own.
        same_labels: whether the runs must also have the same attributes.
        epoch: "best" or "last", see `load_run`.
        allow_changed_data: whether the data may have changed since the runs were trained.

    Returns:
        A dictionary from captions to `ResynthesisModel`s, the runs' `ImageData`, and the first
        run's `TrainingConfig`.

    Raises:
        FileNotFoundError: a folder holds no run or no model, or the data do not exist.
        ValueError: the runs cannot be compared, or a file is damaged.
    """
    duplicates = [path for path, count in collections.Counter(paths).items() if count > 1]
    if duplicates:
        raise ValueError(f"Run '{duplicates[0]}' is given twice.")
    configs = {path: RunFolder(path).read_config() for path in paths}
    if data_dir is not None:
        if not user_path(data_dir).is_dir():
            raise FileNotFoundError(f"--data_dir '{data_dir}' is not a folder.")
        configs = {path: config.replace(data_dir=data_dir) for path, config in configs.items()}
    _check_agree(configs, ("dataset", "data_dir"), same_labels)
    captions = captions_of(configs)
    models = {captions[path]: load_run(path, epoch)[1] for path in paths}
    _check_sizes(paths, models)
    config = configs[paths[0]]
    data = load_run_data(paths[0], config, allow_changes=allow_changed_data)
    if data.test is None:
        # These determine which images are held out for validation.
        _check_agree(configs, ("seed", "validation_fraction"))
    return models, data, config


def _check_agree(
    configs: Mapping[Any, TrainingConfig], fields: Sequence[str], same_labels: bool = False
) -> None:
    """Raises a ValueError that names the first field in which a run differs from the first run."""
    (first, expected), *others = configs.items()
    for path, config in others:
        for field in fields:
            one, two = getattr(expected, field), getattr(config, field)
            if field == "dataset":
                one, two = (_canonical(call, same_labels) for call in (one, two))
            if one != two:
                hint = "; --data_dir says where the data are" if field == "data_dir" else ""
                raise ValueError(
                    f"Runs can be compared on the same images only, but {field} is {one} in "
                    f"'{first}' and {two} in '{path}'{hint}."
                )


def _canonical(dataset: str, with_labels: bool) -> str:
    """Returns a data set's canonical call string, without its attributes unless `with_labels`.

    Attributes only select the labels.
    """
    call = DATASETS.parse(DATASETS.canonical(dataset))
    if with_labels:
        return str(call)
    arguments = {key: value for key, value in call.arguments.items() if key != "attributes"}
    return str(Call(call.name, arguments))


def _check_sizes(paths: Sequence[Any], models: Mapping[str, ResynthesisModel]) -> None:
    shapes = [model.image_shape for model in models.values()]
    for path, shape in zip(paths, shapes):
        if shape != shapes[0]:
            raise ValueError(
                "Runs can be compared on the same images only, but images are of the shape "
                f"{shapes[0]} in '{paths[0]}' and {shape} in '{path}'."
            )
