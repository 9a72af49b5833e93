"""Runs the app: a socket, a line that says where it is, and uvicorn."""

import contextlib
import socket
import sys

import uvicorn

from amr_tf.serving.app.guard import is_loopback
from amr_tf.serving.app.limits import Limits
from amr_tf.serving.app.servable import warm_up
from amr_tf.serving.app.server import create_app

_CONNECTIONS = 100  # More are answered 503 at once.


def serve(model_folder, version=None, host="127.0.0.1", port=8501, upload_bytes=10 * 2**20):
    """Serves an exported model until it is interrupted.

    Args:
        model_folder: the model's folder, such as "saved_models/digits".
        version: which of its versions; by default the newest.
        host: name or address to listen on.
        port: 0 for one that is free; it is printed.
        upload_bytes: the most that a request may have.

    Raises:
        ValueError: there is no such model or version, or the port cannot be had.
    """
    listener = _listen(host, port)  # Before the model is loaded, which takes seconds.
    with listener:
        app = create_app(model_folder, version, host, Limits(upload_bytes=upload_bytes))
        servable = app.state.servable
        warm_up(servable)
        if not is_loopback(host):
            print(
                f"warning: {host} is no loopback address: everyone who reaches this machine can "
                "use the model, without a password or encryption.",
                file=sys.stderr,
            )
        address = f"[{host}]" if ":" in host else host
        print(
            f"Serving {servable.name}, version {servable.version}, at "
            f"http://{address}:{listener.getsockname()[1]}/ (Ctrl-C stops it)",
            flush=True,
        )
        config = uvicorn.Config(
            app, log_level="warning", server_header=False, limit_concurrency=_CONNECTIONS
        )
        # Where interrupts are ignored, as under nohup, uvicorn ends at one without raising.
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
        print("Stopped.")


def _listen(host, port):
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family)
        # Connections inherit it. Without it each answer waits 40 ms for an acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise ValueError(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}; choose others with "
            "--host and --port."
        ) from error
