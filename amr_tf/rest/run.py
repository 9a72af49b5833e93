"""Runs the app with uvicorn and prints its address."""

import asyncio
import contextlib
import pathlib
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator

import uvicorn

from amr_tf.rest.guard import is_loopback
from amr_tf.rest.limits import Limits
from amr_tf.rest.newest import Newest, following
from amr_tf.rest.servable import warm_up
from amr_tf.rest.server import create_app

_CONNECTIONS = 100  # Further ones are refused at once, with status 503.


def serve(
    model_folder: str | pathlib.Path,
    version: int | None = None,
    host: str = "127.0.0.1",
    port: int = 8501,
    upload_bytes: int = 10 * 2**20,
    allowed_hosts: Iterable[str] = (),
) -> None:
    """Serves an exported model until interrupted, such as by a notebook's interrupt button.

    Args:
        model_folder: the model's folder, such as "saved_models/digits".
        version: the version to serve; defaults to the newest, including versions added later.
        host: name or address to listen on.
        port: port to listen on; 0 for a free one, which is printed.
        upload_bytes: largest size of a request in bytes.
        allowed_hosts: host names of a reverse proxy in front of the server, without scheme and
            port.

    Raises:
        ValueError: the model or version does not exist, a host name is not valid, or the port is
            not available.
    """
    listener = _listen(host, port)  # First, because loading the model takes seconds.
    with listener:
        limits = Limits(upload_bytes=upload_bytes)
        app = create_app(model_folder, version, host, limits, allowed_hosts)
        servable = app.state.servable
        warm_up(servable)
        if not is_loopback(host):
            print(
                f"warning: {host} is not a loopback address: everyone who reaches this machine can "
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
        newest = following(Newest(model_folder, app.state))
        with newest if version is None else contextlib.nullcontext():
            _run(uvicorn.Server(config), listener)
        print("Stopped.")


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    # uvicorn raises the interrupt again after it has stopped, except where interrupts are ignored,
    # as under nohup.
    with contextlib.suppress(KeyboardInterrupt):
        if _has_event_loop():
            _run_in_a_thread(server, listener)
        else:
            server.run(sockets=[listener])


def _has_event_loop() -> bool:
    """Whether an event loop runs in this thread, as in a notebook; uvicorn then needs another."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run_in_a_thread(server: uvicorn.Server, listener: socket.socket) -> None:
    # An event, because Python 3.11 treats a thread as ended if its `join` is interrupted
    # (bpo-45274).
    ended = threading.Event()

    def run() -> None:
        try:
            server.run(sockets=[listener])
        finally:
            ended.set()

    threading.Thread(target=run, name="server").start()
    try:
        with _interrupts():
            ended.wait()
    finally:
        server.should_exit = True
        ended.wait()


@contextlib.contextmanager
def _interrupts() -> Iterator[None]:
    """Makes interrupts raise KeyboardInterrupt.

    The handler of asyncio waits for the event loop, which waits for this thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family)
        # Connections inherit the option. Without it, each response waits 40 ms for an
        # acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise ValueError(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}; choose others with "
            "--host and --port."
        ) from error
