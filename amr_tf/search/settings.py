"""Settings of a search, stored in its folder so that it is not continued with others."""

import dataclasses
import json
import pathlib
from typing import Any

from amr_tf.files import read_json, write_whole
from amr_tf.runs.config import TrainingConfig
from amr_tf.search.space import SearchSpace

# These may change, since trials do not depend on them.
_FREE = ("run_dir", "data_dir", "verbose", "trackers", "monitor")


def search_settings(
    config: TrainingConfig, space: SearchSpace, oracle: str, executions: int
) -> dict[str, Any]:
    """Returns a dictionary of all settings that determine a search's trials and their results.

    Args:
        config: the `TrainingConfig` that trials change.
        space: a `SearchSpace`.
        oracle: name of the oracle.
        executions: number of runs per trial.
    """
    settings = dataclasses.asdict(config)
    searched = {**space.choices, **space.ranges}
    settings = {
        name: value
        for name, value in settings.items()
        if name not in _FREE and name not in searched
    }
    search = [f"{name.rstrip('_')}:{list(values)}" for name, values in searched.items()]
    return {"search": ", ".join(search), "oracle": oracle, "executions": executions, **settings}


def check_settings(directory: str | pathlib.Path, settings: dict[str, Any]) -> None:
    """Raises a ValueError if the folder holds a search with other settings."""
    path = pathlib.Path(directory) / "search.json"
    if not path.is_file():
        return
    saved = read_json(path)
    for name in settings.keys() & saved.keys():
        if saved[name] != settings[name]:
            raise ValueError(
                f"'{directory}' holds another search: {name.rstrip('_')} was {saved[name]} and is "
                f"{settings[name]}. Choose another --out."
            )


def write_settings(directory: str | pathlib.Path, settings: dict[str, Any]) -> None:
    """Writes the settings into the folder, which is created if it does not exist."""
    pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
    write_whole(pathlib.Path(directory) / "search.json", json.dumps(settings, indent=2) + "\n")
