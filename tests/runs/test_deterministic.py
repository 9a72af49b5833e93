"""`--deterministic`: two fresh processes with one seed train the same weights."""

import pytest

from amr_tf.runs.checkpoints import read_state
from amr_tf.runs.folder import RunFolder
from tests import forked
from tests.runs.conftest import assert_same_checkpoint, read_log, tiny_config

# The training without the evaluation at its end, which would take most of the time.
RUN = """\
import sys
from amr_tf.runs import flagfiles, run
run.train(flagfiles.read_flagfile("tiny.cfg").replace(run_dir=sys.argv[1]))
"""


@pytest.mark.slow
def test_two_processes_with_one_seed(tmp_path):
    config = tiny_config("run", deterministic=True, seed=7, epochs=2)
    (tmp_path / "tiny.cfg").write_text(config.to_flagfile())
    (tmp_path / "tiny_run.py").write_text(RUN)
    for name in ("one", "other"):
        code, _, errors = forked.run("tiny_run", name, cwd=tmp_path)
        assert code == 0, errors
    folders = [RunFolder(tmp_path / name) for name in ("one", "other")]
    assert folders[0].read_config().deterministic
    assert_same_checkpoint(*(read_state(folder.checkpoints)["checkpoint"] for folder in folders))
    assert read_log(folders[0].log) == read_log(folders[1].log)
