"""The FastAPI app: TF Serving's REST API of one model, and a page that uses it."""

import dataclasses
import functools
import importlib.resources
import json
import time

import anyio
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from amr_tf.registry import unknown_name
from amr_tf.serving.app import predict_format
from amr_tf.serving.app.guard import Guard, is_loopback
from amr_tf.serving.app.limits import Limits, check_inputs
from amr_tf.serving.app.servable import load_servable

_WORKERS = 2  # Requests that are computed at a time; others wait.
_DISCARDED = 100 * 2**20  # Bytes of a request that is too large which are read, not kept.
_PAGE = {"/": "page.html", "/page.js": "page.js", "/page.css": "page.css"}
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
_RESPONSES = {
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


def create_app(model_folder, version=None, host="127.0.0.1", limits=None):
    """The app of an exported model.

    Args:
        model_folder: the model's folder, such as "saved_models/digits".
        version: which of its versions; by default the newest.
        host: what the server listens on; on a loopback address only requests that name one in
            their Host header are answered.
        limits: a `Limits`; by default its defaults.

    Returns:
        A `fastapi.FastAPI`, with the loaded `Servable` as `app.state.servable`.

    Raises:
        ValueError: there is no such model or version.
    """
    servable = load_servable(model_folder, version)
    limits = limits or Limits()
    # FastAPI's own documentation pages load scripts from elsewhere.
    app = FastAPI(
        title=f"amr_tf: {servable.name}", docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.servable = servable
    app.add_middleware(Guard, loopback_only=is_loopback(host))
    app.add_exception_handler(StarletteHTTPException, _http_error)
    app.add_exception_handler(ValueError, _value_error)
    app.add_exception_handler(Exception, _unexpected_error)
    _add_page(app, servable, limits)
    # First: the Allow header names the methods of the first path that fits, and {name} fits all.
    _add_predict(app, servable, limits)
    _add_models(app, servable)
    return app


def _http_error(request, error):
    sentence = error.detail
    if error.status_code == 404 and sentence == "Not Found":
        sentence = f"There is nothing at {request.method} {request.url.path[:200]}."
    if error.status_code == 405:
        sentence = f"{request.method} is not for {request.url.path[:200]}."
    return JSONResponse({"error": sentence}, error.status_code, error.headers)


def _value_error(request, error):
    del request
    return JSONResponse({"error": str(error)}, 400)


def _unexpected_error(request, error):
    del request, error
    return JSONResponse({"error": "Something went wrong; the server's log says what."}, 500)


def _add_page(app, servable, limits):
    files = importlib.resources.files("amr_tf.serving.app")
    for path, name in _PAGE.items():
        content = files.joinpath(name).read_text(encoding="utf-8")
        media_type = _TYPES[name.rpartition(".")[2]]
        answer = functools.partial(_answer, content, media_type)
        app.add_api_route(path, answer, methods=["GET"], include_in_schema=False)
    described = _describe(servable, limits)

    @app.get("/api/model", include_in_schema=False)
    def describe():
        return JSONResponse(described)

    @app.get("/api/examples.png", include_in_schema=False)
    def examples():
        if servable.examples is None:
            raise HTTPException(404, "The model was exported without examples.")
        return Response(servable.examples, media_type="image/png")


async def _answer(content, media_type):
    return Response(content, media_type=media_type)


def _describe(servable, limits):
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


def _add_models(app, servable):
    status = {
        "model_version_status": [
            {
                "version": str(servable.version),
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    metadata = {
        "model_spec": {
            "name": servable.name,
            "signature_name": "",
            "version": str(servable.version),
        },
        "metadata": {"signature_def": {"signature_def": servable.definitions}},
    }

    @app.get("/v1/models/{name}", responses=_RESPONSES)
    def model_status(name: str):
        _check_model(servable, name)
        return JSONResponse(status)

    @app.get("/v1/models/{name}/versions/{version}", responses=_RESPONSES)
    def version_status(name: str, version: str):
        _check_model(servable, name, version)
        return JSONResponse(status)

    @app.get("/v1/models/{name}/metadata", responses=_RESPONSES)
    def model_metadata(name: str):
        _check_model(servable, name)
        return JSONResponse(metadata)

    @app.get("/v1/models/{name}/versions/{version}/metadata", responses=_RESPONSES)
    def version_metadata(name: str, version: str):
        _check_model(servable, name, version)
        return JSONResponse(metadata)


def _check_model(servable, name, version=None):
    if name != servable.name:
        raise HTTPException(404, f"There is no model '{name[:100]}'; it is '{servable.name}'.")
    if version is not None and version != str(servable.version):
        raise HTTPException(
            404, f"Version '{version[:20]}' is not loaded; version {servable.version} is."
        )


def _add_predict(app, servable, limits):
    workers = anyio.CapacityLimiter(_WORKERS)
    described = {"responses": _RESPONSES, "openapi_extra": _PREDICT_SCHEMA}

    async def answer(request):
        body = await _read_body(request, limits.upload_bytes)
        return await anyio.to_thread.run_sync(_predict, servable, body, limits, limiter=workers)

    @app.post("/v1/models/{name}:predict", **described)
    async def predict(request: Request, name: str):
        _check_model(servable, name)
        return await answer(request)

    @app.post("/v1/models/{name}/versions/{version}:predict", **described)
    async def predict_with_version(request: Request, name: str, version: str):
        _check_model(servable, name, version)
        return await answer(request)


async def _read_body(request, most):
    """The body, unless it has more than `most` bytes.

    A larger one is read to its end all the same, within reason, and thrown away: a client that is
    still sending when the connection closes does not see the answer.
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
        raise HTTPException(413, f"The request is larger than {most:,} bytes.")
    return bytes(body)


def _predict(servable, body, limits):
    request = predict_format.parse_request(body)
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
