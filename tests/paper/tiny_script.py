"""`amr_tf.reproduce` with the architecture of `tests.runs.tiny`; tests run it as a process."""

from amr_tf import reproduce
from tests.runs import tiny

if __name__ == "__main__":
    tiny.register()
    reproduce.run()
