"""Middleware that restricts who may use the app, and what browsers may do with its responses."""

import ipaddress
import json
import urllib.parse
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The page loads everything from this server; blob: and data: allow images that it creates itself.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_HEADER_LIST = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_names(names: Iterable[str]) -> set[str]:
    """Normalises host names for comparison.

    Args:
        names: host names, such as ["models.example", "[2001:db8::7]"].

    Returns:
        A set of strings.

    Raises:
        ValueError: an entry is more than a name, such as one with a scheme or a port.
    """
    found = set()
    for name in names:
        host = _hostname(f"//{name}")
        if not host or name.lower() not in (host, f"[{host}]"):
            raise ValueError(
                "allowed_hosts must be names or addresses alone, such as models.example or "
                f"[2001:db8::7], without scheme, port or path; got '{name}'."
            )
        found.add(host)
    return found


class Guard:
    """ASGI middleware that checks where a request comes from and adds security headers.

    A page of another site can make a browser send requests to this machine. If the site points its
    own name to 127.0.0.1 (DNS rebinding), the Host header reveals it, otherwise the Origin header.

    Args:
        app: an ASGI app.
        loopback_only: whether to answer only requests for a loopback address or localhost.
        allowed_hosts: names under which a reverse proxy offers the app (see `host_names`). If there
            are any, only requests for these and for loopback addresses are answered. Pages of these
            hosts may send requests, even if the proxy replaces the Host header.
    """

    def __init__(
        self, app: ASGIApp, loopback_only: bool = True, allowed_hosts: Iterable[str] = ()
    ) -> None:
        self.app = app
        self.restricted = loopback_only or bool(allowed_hosts)
        self.allowed_hosts = frozenset(allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_HEADER_LIST]}
            await send(message)

        refusal = self._refusal(dict(scope["headers"]))
        if refusal:
            await _refuse(send_guarded, refusal)
        else:
            await self.app(scope, receive, send_guarded)

    def _refusal(self, headers: dict[bytes, bytes]) -> str | None:
        host = headers.get(b"host", b"").decode("latin-1")
        name = _hostname(f"//{host}")
        if self.restricted and not is_loopback(name) and name not in self.allowed_hosts:
            return (
                f"The Host header must name this machine, 127.0.0.1 or localhost; got "
                f"'{host[:100]}', which --allowed_hosts can allow."
            )
        origin = headers.get(b"origin", b"").decode("latin-1")
        own = origin in ("", f"http://{host}", f"https://{host}")
        if not own and _hostname(origin) not in self.allowed_hosts:
            return "Requests from pages of other sites are refused."
        return None


def _hostname(url: str) -> str:
    try:
        return urllib.parse.urlsplit(url).hostname or ""
    except ValueError:
        return ""


async def _refuse(send: Send, sentence: str) -> None:
    body = json.dumps({"error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
