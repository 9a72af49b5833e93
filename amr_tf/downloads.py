"""Downloads of weights by Keras."""

import contextlib
import socket
from collections.abc import Iterator

_TIMEOUT = 10.0  # Seconds without a response after which a download is aborted.


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Aborts connections that do not respond; Keras would wait forever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
