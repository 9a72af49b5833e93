"""Writes model cards: `README.md` with a sheet of samples."""

import html
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from amr_tf.data import ImageData
from amr_tf.figures.grids import sample_figure
from amr_tf.figures.held_out import draw_sample
from amr_tf.figures.sheet import cell_pixels
from amr_tf.files import read_json
from amr_tf.models.base import ResynthesisModel
from amr_tf.runs.config import in_short
from amr_tf.runs.folder import RunFolder

SAMPLES_FILE = "samples.png"
EXAMPLES_FILE = "examples.png"  # Images that the web page offers for mixing.
_SAMPLES = 8
_EXAMPLES = 14
_POINTS = 1000
_MEANINGS = {
    "serving_default": "The decoder: as `decode`.",
    "decode": "The decoder.",
    "decode_uint8": "The decoder; pixels are clipped and rounded.",
    "decode_png": "The decoder; a PNG file for each code.",
    "encode": "The encoder.",
    "encode_uint8": "The encoder.",
    "encode_png": "The encoder, on PNG or JPEG files of any size, turned upright before; see "
    "Pictures.",
    "reconstruct": "Encodes and decodes.",
    "mix": "Decodes mixes of K codes, as the model's mixer makes them. Let the coefficients of "
    "each mix sum to 1: most mixers use them as given.",
    "mix_maps": "The same, with one weight for each code and feature map, such as Bernoulli masks.",
    "mix_looks": "The same, with one weight for the layout of each code and another for its look "
    "(colours and contrast).",
    "interpolate": "Decoded mixes from images_a to images_b, ends included; steps is at least 2.",
    "sample": "New images: codes drawn from the prior or from a density fitted on training codes, "
    "decoded; the same for the same seed, which is at least 0.",
    "mix_labels": "Mixes of pairs under labels: labels is what the mix shall be, labels_a and "
    "labels_b what the parents are (one-hot, or attributes of 0 and 1); seed, at least 0, draws "
    "the masks.",
}
_FITS = {
    "crop": "cropped to the central square",
    "pad": "padded to a square",
    "stretch": "stretched to a square",
}
_OUTPUTS = (
    "Decoded float images may leave [-1, 1] a little where the decoder has no output activation."
)
_RANGES = {  # Of float32 tensors.
    **dict.fromkeys(("images", "images_a", "images_b"), "[-1, 1]"),
    **dict.fromkeys(("labels", "labels_a", "labels_b"), "[0, 1]"),
}


def write_card(
    path: str | pathlib.Path,
    model: ResynthesisModel,
    facts: dict[str, Any],
    run: RunFolder | None = None,
    data: ImageData | None = None,
    notify: Callable[[str], Any] = print,
) -> None:
    """Writes `README.md` into a version folder; with `data` also `samples.png` and `examples.png`.

    Args:
        path: the version folder.
        model: a `ResynthesisModel`.
        facts: the dictionary that `metadata.describe` returns.
        run: the `RunFolder` of the model, or None.
        data: the `ImageData` to draw samples from, or None.
        notify: called with a message if no samples can be drawn.
    """
    path = pathlib.Path(path)
    sections = [
        _heading(facts, "as a SavedModel"),
        _samples(path, model, data, notify, examples=True),
        _accuracy(run),
        _signature_table(facts),
        _pictures(facts),
        _settings(run),
    ]
    (path / "README.md").write_text(
        _document(sections),
        encoding="utf-8",
        errors="backslashreplace",  # Folder names need not be valid UTF-8.
    )


def hub_card(
    path: str | pathlib.Path,
    model: ResynthesisModel,
    repo_id: str,
    facts: dict[str, Any],
    run: RunFolder | None = None,
    data: ImageData | None = None,
    notify: Callable[[str], Any] = print,
) -> str:
    """Returns a model's card for the Hugging Face Hub; with `data`, also draws `samples.png`.

    Args:
        path: the folder to upload.
        model: a `ResynthesisModel`.
        repo_id: the repository, "USER/NAME".
        facts: the dictionary that `metadata.describe` returns.
        run: the `RunFolder` of the model, or None.
        data: the `ImageData` to draw samples from, or None.
        notify: called with a message if no samples can be drawn.

    Returns:
        The card's Markdown.
    """
    sections = [
        _heading(facts, "for Keras"),
        _samples(pathlib.Path(path), model, data, notify),
        _usage(repo_id),
        _accuracy(run),
        _shown_settings(facts),
    ]
    return _document(sections)


def _document(sections: Iterable[str]) -> str:
    return "\n\n".join(part for part in sections if part) + "\n"


def _usage(repo_id: str) -> str:
    return f"""## Use

The model's classes are those of the package `amr_tf`, which must be imported.

```python
import amr_tf
import keras

model = keras.saving.load_model("hf://{repo_id}")
codes = model.encode(images)  # float32 in [-1, 1], (N, height, width, channels)
mixes = model.mix(images)
line = model.interpolate(images[:1], images[1:2], steps=9)
```"""


def _samples(
    path: pathlib.Path,
    model: ResynthesisModel,
    data: ImageData | None,
    notify: Callable[[str], Any],
    examples: bool = False,
) -> str:
    """Draws the sheet of samples and returns its Markdown, or "" if it cannot be drawn."""
    if data is None:
        return ""
    points = data.image_size is None
    try:
        images, _ = draw_sample(data.held_out, data.image_size, _POINTS if points else _SAMPLES)
        sample_figure(model, images).savefig(path / SAMPLES_FILE)
        if examples and not points and images.shape[-1] in (1, 3):
            _write_examples(path / EXAMPLES_FILE, data)
    except (ValueError, TypeError, OSError) as error:
        notify(f"No sheet of samples: {error}")
        return ""
    return f"![Held-out images, their reconstructions and mixes]({SAMPLES_FILE})"


def _write_examples(file: pathlib.Path, data: ImageData) -> None:
    """Writes held-out images side by side, at the model's image size."""
    images, _ = draw_sample(data.held_out, data.image_size, _EXAMPLES, seed=1)
    Image.fromarray(cell_pixels(np.concatenate(list(images), axis=1))).save(file)


def _heading(facts: dict[str, Any], form: str) -> str:
    # A run's settings include the parameters, such as "gaussian(sigma=0.25)".
    settings = facts["settings"] or {}
    named = {**facts, **{name: in_short(name, value) for name, value in settings.items()}}
    mixer = "no mixer" if facts["mixer"] is None else f"mixer {named['mixer']}, k = {facts['k']}"
    if facts["label_mixer"]:
        mixer += f", label mixer {facts['label_mixer']}"
    rows = [
        ("data set", named["dataset"] or "not recorded"),
        ("method", f"{named['method']}, {mixer}"),
        ("networks", named.get("architecture", "not recorded")),
        ("images", _shape(facts["image_shape"])),
        ("pictures", _in_short(facts["preprocessing"])),
        ("codes", _shape(facts["latent_shape"])),
        ("classes", _classes(facts)),
        ("SHA-256 of the run's config.json", facts["config_sha256"] or "not recorded"),
        ("written with", f"amr_tf {facts['amr_tf_version']}, TF {facts['tensorflow_version']}"),
    ]
    table = "\n".join(f"| {name} | {_in_a_cell(value)} |" for name, value in rows)
    return (
        f"# {_in_a_cell(facts['name'])}\n\n"
        f"An auto-encoder whose codes can be mixed (adversarial mixup resynthesis), {form}."
        f"\n\n| | |\n|---|---|\n{table}"
    )


def _in_a_cell(value: object) -> str:
    """Escapes a user's text for a table cell, so that none of it acts as Markdown or HTML.

    Underscores within words, as in names of data sets, are not markup and stay as they are.
    """
    line = " ".join(str(value).split())  # A line break would end the table.
    escaped = re.sub(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)", r"\\\g<0>", line)
    return html.escape(escaped, quote=False)


def _classes(facts: dict[str, Any]) -> str:
    if facts["num_classes"] is None:
        return "none"
    names = facts["class_names"]
    kind = " attributes" if facts["multi_label"] else ""
    return f"{facts['num_classes']}{kind}" + (f": {', '.join(names)}" if names else "")


def _shape(sizes: Iterable[int]) -> str:
    return " x ".join(str(size) for size in sizes)


def _accuracy(run: RunFolder | None) -> str:
    """Returns a table of the probes' accuracies in `results.json`, or ""."""
    if run is None or not run.results.is_file():
        return ""
    results = read_json(run.results, finite=False)
    rows = [
        f"| {_in_a_cell(group)}, {_in_a_cell(name.replace('_', ' '))} | {value:.4f} |"
        for group, values in results.items()
        for name, value in (values.items() if isinstance(values, dict) else [("", values)])
        if "accuracy" in group + name and isinstance(value, (int, float))
    ]
    if not rows:
        return ""
    head = "## Probe accuracy\n\nOf the best epoch's model, on codes that did not learn from labels"
    head += " unless `supervision` below is above 0.\n\n| measure | accuracy |\n|---|---|\n"
    return head + "\n".join(rows).replace(",  |", " |")


def _signature_table(facts: dict[str, Any]) -> str:
    lines = ["## Signatures", "", "N, K and steps are dynamic.", _OUTPUTS, ""]
    lines += ["| signature | inputs | outputs | what it does |", "|---|---|---|---|"]
    for name in sorted(facts["signatures"]):
        tensors = facts["signatures"][name]
        inputs, outputs = (_tensors(tensors[kind]) for kind in ("inputs", "outputs"))
        lines.append(f"| `{name}` | {inputs} | {outputs} | {_MEANINGS[name]} |")
    return "\n".join(lines)


def _tensors(tensors: dict[str, dict[str, Any]]) -> str:
    return "; ".join(_tensor(name, **tensor) for name, tensor in tensors.items())


def _tensor(name: str, dtype: str, shape: Sequence[int | None]) -> str:
    dynamic = iter(("steps",) if name == "images" and len(shape) == 5 else ("K",))
    sizes = [_size(size, axis, dynamic) for axis, size in enumerate(shape)]
    allowed = {"uint8": "0 to 255", "float32": _RANGES.get(name)}.get(dtype)
    return f"{name}: {dtype} ({', '.join(sizes)})" + (f" in {allowed}" if allowed else "")


def _size(size: int | None, axis: int, dynamic: Iterator[str]) -> str:
    if size is not None:
        return str(size)
    return "N" if axis == 0 else next(dynamic)


def _in_short(preprocessing: dict[str, Any] | None) -> str:
    """Describes the preprocessing of a picture in a few words."""
    if preprocessing is None:
        return "resized"
    crop = preprocessing["crop"]
    parts = [f"the central {crop} x {crop} pixels"] if crop else []
    parts += [_FITS[preprocessing["fit"]], f"on {preprocessing['background']}"]
    return ", ".join(parts)


def _pictures(facts: dict[str, Any]) -> str:
    """Describes the preprocessing in and before `encode_png`; "" without that signature."""
    if "encode_png" not in facts["signatures"]:
        return ""
    preprocessing = facts["preprocessing"]
    if preprocessing is None:
        done = "A picture is resized (bilinear, antialiased), not cropped."
    else:
        done = _cut_in_words(preprocessing)
    return (
        f"## Pictures\n\n{done}\n\n"
        "The EXIF orientation must be applied before, for a graph cannot: "
        "`PIL.ImageOps.exif_transpose(image)` in Python; browsers do it when they draw an image. "
        "What calls `encode`, `decoder.tflite` or an ONNX file does all of this itself, and scales "
        "0 to 255 to [-1, 1]."
    )


def _cut_in_words(preprocessing: dict[str, Any]) -> str:
    size, background = preprocessing["image_size"], preprocessing["background"]
    steps = [f"laid on {background} where it is transparent"]
    if preprocessing["channels"] == 1:
        steps.append("made grey (luminance)")
    if preprocessing["crop"]:
        steps.append("cut to its central {0} x {0} pixels".format(preprocessing["crop"]))
    square = {
        "crop": "cropped to its central square",
        "pad": f"padded to a square with {background}",
        "stretch": "stretched to a square",
    }
    steps.append(square[preprocessing["fit"]])
    steps.append(f"resized to {size} x {size} (bilinear, antialiased)")
    return f"In training and in `encode_png` a picture is {', '.join(steps[:-1])} and {steps[-1]}."


def _settings(run: RunFolder | None) -> str:
    """Returns a section with the run's flagfile, which has every hyperparameter, or ""."""
    if run is None or not run.flagfile.is_file():
        return ""
    return (
        "## Settings\n\nThe flagfile with which `python -m amr_tf.train --flagfile=FILE` repeats "
        f"the run; `metadata.json` has the signatures for programs.\n\n```\n"
        f"{run.flagfile.read_text(encoding='utf-8').rstrip()}\n```"
    )


def _shown_settings(facts: dict[str, Any]) -> str:
    """Returns a section with the run's settings, without paths of the training machine, or ""."""
    if not facts["settings"]:
        return ""
    lines = "\n".join(f"--{name}={value}" for name, value in facts["settings"].items())
    return f"## Settings\n\nThe flags of `amr train`.\n\n```\n{lines}\n```"
