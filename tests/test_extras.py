"""Extras: what texts tell people to install is there."""

import pathlib
import re
import tomllib

ROOT = pathlib.Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
# pip install 'amr-tf[serve]', or '.[serve,gpu]' in a clone.
HINT = re.compile(r"(?:amr-tf|['\"]\.)\[([\w{}.,-]+)\]")


def hints():
    """Pairs of a file and an extra that it names."""
    folders = ("amr_tf", "benchmarks", "configs", "deploy", "docs", "examples")
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*"))]
    files = [*ROOT.glob("*.md"), ROOT / "pyproject.toml", *files]
    kinds = (".py", ".md", ".yml", ".toml", ".cfg", ".html", ".js", ".sh")
    return [
        (path.relative_to(ROOT).as_posix(), name)
        for path in files
        if path.suffix in kinds
        for found in HINT.findall(path.read_text(encoding="utf-8"))
        for name in found.split(",")
    ]


def test_the_extras_that_texts_name_exist():
    named = hints()
    written_out = {(path, name) for path, name in named if "{" not in name}
    assert {name for _, name in written_out} <= set(EXTRAS)
    # The test finds what it looks for, in code as in pages.
    assert {
        ("amr_tf/commands/serve.py", "serve"),
        ("amr_tf/savedmodel/warmup.py", "tf-serving"),
        ("amr_tf/hub.py", "hub"),
        ("docs/serving.md", "onnx"),
        ("README.md", "gpu"),
        ("pyproject.toml", "mlflow"),
    } <= written_out


def test_the_extras_that_code_fills_in_exist():
    from amr_tf.runs.trackers import TRACKERS
    from amr_tf.savedmodel.converted import _PACKAGES

    filled_in = {path for path, name in hints() if "{" in name}
    assert filled_in == {"amr_tf/savedmodel/converted.py", "amr_tf/runs/trackers.py"}
    trackers = map(TRACKERS.get, TRACKERS.names())
    names = {extra for entry in trackers if (extra := getattr(entry, "extra", None))}
    assert names == {"mlflow", "wandb"}
    assert names | set(_PACKAGES) <= set(EXTRAS)
