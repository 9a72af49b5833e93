"""Serves an exported model on this machine: python -m amr_tf.serve --model=saved_models/digits

A web page to mix images with, at http://127.0.0.1:8501/, and TF Serving's REST API beside it. It
needs pip install 'amr-tf[serve]'.
"""

from absl import flags

from amr_tf import commands
from amr_tf.files import user_path

_MODEL = flags.DEFINE_string(
    "model", None, "Folder that amr_tf.export wrote, such as saved_models/digits.", required=True
)
_VERSION = flags.DEFINE_integer(
    "version", None, "Which of its versions; by default the newest.", lower_bound=1
)
_HOST = flags.DEFINE_string(
    "host", "127.0.0.1", "Address to listen on; any but a loopback address lets others in."
)
_PORT = flags.DEFINE_integer(
    "port", 8501, "Port to listen on; 0 for one that is free.", lower_bound=0, upper_bound=65535
)
_ALLOWED_HOSTS = flags.DEFINE_list(
    "allowed_hosts", [], "Names under which a reverse proxy offers it, such as models.example."
)
_MAX_UPLOAD_MB = flags.DEFINE_integer(
    "max_upload_mb", 10, "Megabytes that a request may have.", lower_bound=1, upper_bound=1024
)


def main(argv):
    del argv
    try:
        from amr_tf.serving.app import run  # FastAPI is an extra.
    except ModuleNotFoundError as error:
        raise ValueError(
            f"amr_tf.serve needs {error.name}: pip install 'amr-tf[serve]'."
        ) from error
    run.serve(
        user_path(_MODEL.value),
        _VERSION.value,
        _HOST.value,
        _PORT.value,
        _MAX_UPLOAD_MB.value * 2**20,
        _ALLOWED_HOSTS.value,
    )


def run():
    """Runs the command."""
    commands.run(main)


if __name__ == "__main__":
    run()
