"""The package's source: what no module of it may do, or only in a safe way."""

import ast
import pathlib

import pytest

import amr_tf

ROOT = pathlib.Path(amr_tf.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
# Modules whose reading of data runs code, or that read archives and mark-up without care.
FORBIDDEN_IMPORTS = {"pickle", "dill", "joblib", "marshal", "shelve", "cloudpickle", "yaml", "xml"}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile_command",
    "system",
    "popen",
    "enable_unsafe_deserialization",
    "extractall",
    "unpack_archive",
    "literal_eval",
}

# Where literals are read: call strings.
LITERALS = ("registry.py",)


def nodes(path, kind):
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kind)]


def name_of(call):
    return ast.unparse(call.func)


def keyword(call, name):
    return next((ast.unparse(word.value) for word in call.keywords if word.arg == name), None)


def calls(ending):
    """Every call in the package whose function's dotted name has an ending, with its file."""
    found = [(path, call) for path in FILES for call in nodes(path, ast.Call)]
    return [(path, call) for path, call in found if name_of(call).endswith(ending)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_runs_what_it_reads(path):
    imported = {alias.name for node in nodes(path, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes(path, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} & FORBIDDEN_IMPORTS == set()
    called = {name_of(call).split(".")[-1] for call in nodes(path, ast.Call)}
    allowed = {"literal_eval"} if str(path.relative_to(ROOT)) in LITERALS else set()
    assert called & FORBIDDEN_CALLS == allowed


def test_safe_mode_in_every_load():
    found = calls("saving.load_model")
    assert found  # The test looks at something.
    for path, call in found:
        assert keyword(call, "safe_mode") == "True", path
    for path in FILES:
        assert "safe_mode=False" not in path.read_text(), path
    for _, call in calls("deserialize_keras_object"):
        assert keyword(call, "safe_mode") is None  # The load's own holds.


def test_no_pickles_in_any_array():
    found = calls("np.load") + calls("numpy.load")
    assert found
    for path, call in found:
        assert keyword(call, "allow_pickle") == "False", path


def test_every_picture_of_a_user_is_of_a_listed_format():
    """Pillow would run Ghostscript for PostScript, whatever the file's name."""
    found = calls("Image.open")
    assert found
    for path, call in found:
        assert keyword(call, "formats") is not None, path


def test_a_shell_is_never_used():
    for path, call in calls("subprocess.run") + calls("Popen"):
        assert keyword(call, "shell") is None, path
