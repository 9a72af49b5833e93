"""Uploads models to the Hugging Face Hub in Keras' format, with a model card of this library."""

import contextlib
import importlib.util
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import keras

from amr_tf.data import ImageData
from amr_tf.models.base import ResynthesisModel
from amr_tf.runs.folder import RunFolder
from amr_tf.savedmodel.card import hub_card
from amr_tf.savedmodel.metadata import describe

TAGS = ("autoencoder", "adversarial-mixup-resynthesis", "image-generation")


def push_to_hub(
    model: ResynthesisModel,
    repo_id: str,
    run: RunFolder | None = None,
    data: ImageData | None = None,
    private: bool | None = None,
    notify: Callable[[str], Any] = print,
) -> str:
    """Uploads a model to the Hugging Face Hub, from where Keras loads it.

    The files are those of `model.save("hf://USER/NAME")`: the config and the weights, of the
    optimizers too. The front page is a model card instead of Keras' own, with a sheet of samples if
    `data` are given. If the repository already has a front page, its metadata between the `---`
    lines, such as `license`, are kept.

    Requires the package `huggingface_hub` and a token with write access, from `hf auth login` or in
    `HF_TOKEN`.

    Args:
        model: a `ResynthesisModel`.
        repo_id: the repository, "USER/NAME"; created if it does not exist.
        run: the `RunFolder` of the model, for the card; or None.
        data: the `ImageData` for the sheet of samples, which is as public as the model; or None
            for no sheet.
        private: whether to create a private repository; None for the account's setting.
        notify: called with a message if no samples can be drawn.

    Returns:
        The repository's URL.

    Raises:
        ValueError: `repo_id` has another form, or the package is not installed.
        OSError: the Hub cannot be reached or refuses the request.

    Example:

    >>> import amr_tf  # Keras must know the model's classes.
    >>> push_to_hub(model, "USER/digits")
    >>> model = keras.saving.load_model("hf://USER/digits")
    """
    address = make_repository(repo_id, private)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        keras.saving.save_model(model, path / "model", zipped=False)
        facts = describe(model, repo_id.rpartition("/")[2], None, run, data)
        card = hub_card(path / "model", model, repo_id, facts, run, data, notify)
        with _told(repo_id):
            _write_front_page(path / "model" / "README.md", repo_id, card)
            _api().upload_folder(
                repo_id=repo_id, folder_path=path / "model", commit_message="Save model with amr_tf"
            )
    return address


def make_repository(repo_id: str, private: bool | None = None) -> str:
    """Creates a repository on the Hub unless it exists, and returns its URL.

    Called first, so that errors in the name, the token or the network are reported early.

    Args:
        repo_id: see `push_to_hub`.
        private: see `push_to_hub`.

    Raises:
        ValueError, OSError: see `push_to_hub`.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ValueError("The Hub needs huggingface_hub (pip install 'amr-tf[hub]').")
    if not isinstance(repo_id, str) or repo_id.count("/") != 1:
        raise ValueError(f"A model's name on the Hub is USER/NAME; got {repo_id!r}.")
    with _told(repo_id):
        return str(_api().create_repo(repo_id, private=private, exist_ok=True))


def _api() -> Any:
    """Returns the Hub's client, which reads `HF_ENDPOINT` and `HF_TOKEN` itself."""
    import huggingface_hub

    return huggingface_hub.HfApi(library_name="keras", library_version=keras.__version__)


def _write_front_page(path: pathlib.Path, repo_id: str, card: str) -> None:
    """Writes the card with its metadata; metadata already in the repository are kept."""
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    settings = {"library_name": "keras", "tags": list(TAGS)}
    try:
        before = huggingface_hub.metadata_load(_api().hf_hub_download(repo_id, "README.md"))
        settings |= before or {}
    except EntryNotFoundError:
        pass
    path.write_text(card, encoding="utf-8", errors="backslashreplace")
    huggingface_hub.metadata_save(path, settings)


@contextlib.contextmanager
def _told(repo_id: str) -> Iterator[None]:
    """Converts the client's errors to an OSError that names the repository."""
    try:
        yield
    except Exception as error:  # The client, httpx and hf_xet raise various exceptions.
        reason = " ".join(str(error).split()).rstrip(".")
        raise OSError(f"'{repo_id}' on the Hugging Face Hub: {reason}.") from error
