"""The FastAPI app: TF Serving's REST API for one model, and a page that uses it."""

import dataclasses
import functools
import gzip
import importlib.resources
import io
import json
import pathlib
import time
import zlib
from collections.abc import Iterable
from typing import Any

import anyio
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from amr_tf.registry import unknown_name
from amr_tf.rest import predict_format
from amr_tf.rest.guard import Guard, host_names, is_loopback
from amr_tf.rest.limits import Limits, check_inputs
from amr_tf.rest.servable import Servable, load_servable

_WORKERS = 2  # Requests computed at the same time; others wait.
_DISCARDED = 100 * 2**20  # Bytes of a too large request to read and discard.
_PAGE = {"/": "page.html", "/page.js": "page.js", "/page.css": "page.css"}
_READING = ["GET", "HEAD"]
_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
_SHOWN = ("method", "mixer", "k", "dataset", "preprocessing")
_PREDICT_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "signature_name": {"type": "string"},
                        "instances": {"type": "array", "minItems": 1, "items": {}},
                        "inputs": {},
                    },
                    "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
                }
            }
        },
    }
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": "One sentence says what is wrong.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"error": {"type": "string"}},
                    "required": ["error"],
                }
            }
        },
    }
    for status in (400, 403, 404, 413)
}


class _ModelName(StringConvertor):
    """Matches a model's name, which may contain colons, but must not end in a verb's `:VERB`."""

    regex = "[^/]+(?<!:predict)(?<!:classify)(?<!:regress)"


class _VersionNumber(StringConvertor):
    regex = "[0-9]+"


register_url_convertor("amr_tf_model", _ModelName())
register_url_convertor("amr_tf_version", _VersionNumber())
_MODEL = "/v1/models/{name:amr_tf_model}"
_VERSION = "/versions/{version:amr_tf_version}"


def create_app(
    model_folder: str | pathlib.Path,
    version: int | None = None,
    host: str = "127.0.0.1",
    limits: Limits | None = None,
    allowed_hosts: Iterable[str] = (),
) -> FastAPI:
    """Creates the app for an exported model.

    Args:
        model_folder: the model's folder, such as "saved_models/digits".
        version: the version to serve; defaults to the newest.
        host: name or address that the server listens on. If it is a loopback address, only requests
            with a loopback address in the Host header are answered.
        limits: a `Limits`; defaults to `Limits()`.
        allowed_hosts: further names that the Host header may contain (see `Guard`).

    Returns:
        A `fastapi.FastAPI`, with the loaded `Servable` as `app.state.servable`.

    Raises:
        ValueError: the model or version does not exist, or a host name is not valid.
    """
    names = host_names(allowed_hosts)
    servable = load_servable(model_folder, version)
    limits = limits or Limits()
    # FastAPI's own documentation pages load scripts from elsewhere.
    app = FastAPI(
        title=f"amr_tf: {servable.name}", docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.servable = servable
    app.add_middleware(Guard, loopback_only=is_loopback(host), allowed_hosts=names)
    app.add_exception_handler(StarletteHTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _disconnected)
    app.add_exception_handler(ValueError, _value_error)
    app.add_exception_handler(Exception, _unexpected_error)
    _add_page(app, limits)
    _add_predict(app, limits)
    _add_models(app)
    return app


def _http_error(request: Request, error: Any) -> Response:  # Starlette types it as Exception.
    status, sentence = error.status_code, error.detail
    if status == 405 or (status == 404 and sentence == "Not Found"):  # Raised by the router.
        status, sentence = _no_route(request, status, (error.headers or {}).get("Allow", ""))
    return JSONResponse({"error": sentence}, status, error.headers)


def _no_route(request: Request, status: int, allowed: str) -> tuple[int, str]:
    """Returns status and message for a request without a route; `allowed` lists the methods."""
    where = f"{request.method} {request.url.path[:200]}"
    # A POST request most likely has the wrong path, not the wrong method.
    methods = sorted(allowed.split(", ")) if allowed and request.method != "POST" else []
    hint = f"; use {', '.join(methods)}." if methods else "."
    if request.url.path.startswith("/v1/"):
        return 400, f"Malformed request: {where}{hint}"  # TF Serving's status and wording.
    return status, f"There is nothing at {where}{hint}"


def _disconnected(request: Request, error: Exception) -> Response:
    """Returns TF Serving's status for cancelled requests, although no client reads it."""
    del request, error
    return Response(status_code=499)


def _value_error(request: Request, error: Exception) -> Response:
    del request
    return JSONResponse({"error": str(error)}, 400)


def _unexpected_error(request: Request, error: Exception) -> Response:
    del request, error
    return JSONResponse({"error": "Something went wrong; the server's log says what."}, 500)


def _add_page(app: FastAPI, limits: Limits) -> None:
    files = importlib.resources.files("amr_tf.rest")
    for path, name in _PAGE.items():
        content = files.joinpath(name).read_text(encoding="utf-8")
        media_type = _TYPES[name.rpartition(".")[2]]
        answer = functools.partial(_answer, content, media_type)
        app.add_api_route(path, answer, methods=_READING, include_in_schema=False)

    @app.api_route("/api/model", methods=_READING, include_in_schema=False)
    def describe() -> Response:
        return JSONResponse(_describe(app.state.servable, limits))

    @app.api_route("/api/examples.png", methods=_READING, include_in_schema=False)
    def examples() -> Response:
        examples = app.state.servable.examples
        if examples is None:
            raise HTTPException(404, "The model was exported without examples.")
        return Response(examples, media_type="image/png")


async def _answer(content: str, media_type: str) -> Response:
    return Response(content, media_type=media_type)


def _describe(servable: Servable, limits: Limits) -> dict[str, Any]:
    return {
        **{key: servable.metadata.get(key) for key in _SHOWN},
        "name": servable.name,
        "version": servable.version,
        "image_shape": servable.image_shape,
        "latent_shape": servable.latent_shape,
        "signatures": sorted(servable.signatures),
        "examples": servable.examples is not None,
        "limits": dataclasses.asdict(limits),
    }


def _add_models(app: FastAPI) -> None:
    @app.get(_MODEL, responses=_RESPONSES)
    def model_status(name: str) -> Response:
        return JSONResponse(_status(_find(app, name)))

    @app.get(_MODEL + _VERSION, responses=_RESPONSES)
    def version_status(name: str, version: str) -> Response:
        return JSONResponse(_status(_find(app, name, version)))

    @app.get(f"{_MODEL}/metadata", responses=_RESPONSES)
    def model_metadata(name: str) -> Response:
        return JSONResponse(_metadata(_find(app, name)))

    @app.get(f"{_MODEL}{_VERSION}/metadata", responses=_RESPONSES)
    def version_metadata(name: str, version: str) -> Response:
        return JSONResponse(_metadata(_find(app, name, version)))


def _status(servable: Servable) -> dict[str, Any]:
    state = {
        "version": str(servable.version),
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    return {"model_version_status": [state]}


def _metadata(servable: Servable) -> dict[str, Any]:
    spec = {"name": servable.name, "signature_name": "", "version": str(servable.version)}
    definitions = {"signature_def": {"signature_def": servable.definitions}}
    return {"model_spec": spec, "metadata": definitions}


def _find(app: FastAPI, name: str, version: str | None = None) -> Servable:
    """Returns the current servable if it has the requested name and version."""
    servable = app.state.servable
    if name != servable.name:
        raise HTTPException(404, f"There is no model '{name[:100]}'; it is '{servable.name}'.")
    if version is not None and version != str(servable.version):
        raise HTTPException(
            404, f"Version '{version[:20]}' is not loaded; version {servable.version} is."
        )
    return servable


def _add_predict(app: FastAPI, limits: Limits) -> None:
    workers = anyio.CapacityLimiter(_WORKERS)
    described: dict[str, Any] = {"responses": _RESPONSES, "openapi_extra": _PREDICT_SCHEMA}

    async def answer(request: Request, servable: Servable) -> Response:
        body = await _read_body(request, limits.upload_bytes)
        encoding = request.headers.get("content-encoding", "")
        work = functools.partial(_predict, servable, body, encoding, limits)
        return await anyio.to_thread.run_sync(work, limiter=workers)

    @app.post("/v1/models/{name}:predict", **described)
    async def predict(request: Request, name: str) -> Response:
        return await answer(request, _find(app, name))

    @app.post(f"/v1/models/{{name}}{_VERSION}:predict", **described)
    async def predict_with_version(request: Request, name: str, version: str) -> Response:
        return await answer(request, _find(app, name, version))


async def _read_body(request: Request, most: int) -> bytes:
    """Reads the body, and raises an HTTPException if it has more than `most` bytes.

    A larger body is still read to its end, up to a limit, and discarded: a client that is still
    sending when the connection closes does not see the response.
    """
    body = bytearray()
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received <= most:
            body += chunk
        elif received > most + _DISCARDED:
            break
    if received > most:
        raise _too_large(most)
    return bytes(body)


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"The request is larger than {most:,} bytes.")


def _decoded(body: bytes, encoding: str, most: int) -> bytes:
    """Decompresses a body; supports only gzip, as TF Serving does.

    Args:
        body: the request's body.
        encoding: the Content-Encoding header, or "".
        most: largest number of bytes after decompression.

    Raises:
        HTTPException: the decompressed body is larger.
        ValueError: the body is not valid gzip, or the encoding is another one.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise ValueError(f"Content-Encoding must be gzip or identity; got '{encoding[:50]}'.")
    try:
        with gzip.open(io.BytesIO(body)) as file:
            decoded = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError("The request's body is not whole gzip data.") from error
    if len(decoded) > most:
        raise _too_large(most)
    return decoded


def _predict(servable: Servable, body: bytes, encoding: str, limits: Limits) -> Response:
    request = predict_format.parse_request(_decoded(body, encoding, limits.upload_bytes))
    name = predict_format.signature_name(request)
    if name not in servable.signatures:
        raise unknown_name("signature", name[:100], servable.signatures)
    signature = servable.signatures[name]
    inputs, rows = predict_format.read_inputs(request, signature.inputs)
    check_inputs(inputs, signature.inputs, servable.image_shape, limits)
    started = time.perf_counter()
    outputs = signature(inputs)
    milliseconds = 1000 * (time.perf_counter() - started)
    answer = json.dumps(predict_format.write_outputs(outputs, rows), allow_nan=False)
    headers = {"Server-Timing": f"model;dur={milliseconds:.1f}"}
    return Response(answer, media_type="application/json", headers=headers)
