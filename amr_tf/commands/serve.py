"""Serves an exported model on this machine: python -m amr_tf.serve --model=saved_models/digits

Offers a web page for mixing images at http://127.0.0.1:8501/, and TF Serving's REST API. Needs
pip install 'amr-tf[serve]'.
"""

from absl import flags

from amr_tf.commands.running import Command
from amr_tf.files import user_path


def define(values: flags.FlagValues) -> None:
    """Defines the command's own flags."""
    flags.DEFINE_string(
        "model",
        None,
        "Folder written by amr_tf.export, such as saved_models/digits.",
        required=True,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "version",
        None,
        "Version to serve; defaults to the newest.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_string(
        "host",
        "127.0.0.1",
        "Address to listen on; other machines can connect unless it is a loopback address.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "port",
        8501,
        "Port to listen on; 0 for a free one.",
        lower_bound=0,
        upper_bound=65535,
        flag_values=values,
    )
    flags.DEFINE_list(
        "allowed_hosts",
        [],
        "Host names of a reverse proxy in front of the server, such as models.example.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "max_upload_mb",
        10,
        "Maximum size of a request in megabytes.",
        lower_bound=1,
        upper_bound=1024,
        flag_values=values,
    )


def main(given: flags.FlagValues, arguments: list[str]) -> None:
    """Runs the command with parsed flags."""
    del arguments
    try:
        from amr_tf.rest import run  # FastAPI is an extra.
    except ModuleNotFoundError as error:
        raise ValueError(
            f"amr_tf.serve needs {error.name}: pip install 'amr-tf[serve]'."
        ) from error
    run.serve(
        user_path(given.model),
        given.version,
        given.host,
        given.port,
        given.max_upload_mb * 2**20,
        given.allowed_hosts,
    )


COMMAND = Command("serve", __doc__, define, main)
