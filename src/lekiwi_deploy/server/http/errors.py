"""What went wrong -> `ErrorBody` with the status of `errors.HTTP_STATUS`; the unexpected is logged whole and shown as one line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import Send

from lekiwi_deploy.errors import HTTP_STATUS, LekiwiError
from lekiwi_deploy.wire.api import ErrorBody
from lekiwi_deploy.wire.encoding import encode

_log = logging.getLogger("lekiwi.http")

_CODES: Mapping[int, str] = MappingProxyType(
    {401: "unauthenticated", 403: "not_allowed", 404: "not_found", 413: "too_large", 503: "unavailable"}
)


def error_body(error: BaseException) -> tuple[int, ErrorBody]:
    """The HTTP status and body that tell of `error`. Everything that is no `LekiwiError` is `internal`."""
    if isinstance(error, LekiwiError):
        return HTTP_STATUS[error.code], ErrorBody(
            code=error.code, message=error.message, next=error.next, details=dict(error.details)
        )
    return 500, ErrorBody(code="internal", message="the server made a mistake; its log has the particulars")


def headers_for(status: int) -> dict[str, str]:
    """Headers that belong to an error of this status."""
    if status == 401:
        return {"www-authenticate": 'Bearer realm="lekiwi"'}
    return {"retry-after": "1"} if status == 503 else {}


async def send_error(send: Send, error: BaseException, *, status: int | None = None) -> None:
    """Sends `error` as a whole ASGI response; for code that is not a Litestar handler. Logs what is unexpected."""
    found, body = error_body(error)
    status = status or found
    if status == 500:
        _log.error("internal error", exc_info=error)
    content = encode(body)
    headers = {"content-type": "application/json", "content-length": str(len(content)), **headers_for(status)}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": content, "more_body": False})


def _answer(status: int, body: ErrorBody) -> Response[ErrorBody]:
    return Response(body, status_code=status, media_type="application/json", headers=headers_for(status))


def _lekiwi(request: Request[Any, Any, Any], error: LekiwiError) -> Response[ErrorBody]:
    return _answer(*error_body(error))


def _http(request: Request[Any, Any, Any], error: HTTPException) -> Response[ErrorBody]:
    status = error.status_code
    if status >= 500 and status != 503:
        return _unexpected(request, error)
    if status == 404:
        message = f"there is nothing at {request.url.path}"
    elif status == 405:
        message = f"{request.method} is not possible at {request.url.path}"
    elif status == 413:
        message = "the request's body is too large"
    elif isinstance(error, ValidationException) and isinstance(error.extra, list):
        message = "the request is not valid: " + ("; ".join(_told(error.extra)) or error.detail)
    else:
        message = f"the request is not valid: {error.detail}"
    return _answer(status, ErrorBody(code=_CODES.get(status, "bad_input"), message=message[:2000]))


def _told(particulars: list[Any]) -> list[str]:
    told: list[str] = []
    for one in particulars:
        if isinstance(one, dict):
            missing = one.get("key") == "data" and one.get("message") == "'data'"
            told.append("it needs a JSON body" if missing else f"{one.get('key') or 'body'}: {one.get('message')}")
    return told


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[ErrorBody]:
    _log.error("internal error at %s %s", request.method, request.url.path, exc_info=error)
    return _answer(*error_body(RuntimeError()))


def _too_deep(request: Request[Any, Any, Any], error: RecursionError) -> Response[ErrorBody]:
    if "deserializing" not in str(error):
        return _unexpected(request, error)
    return _answer(400, ErrorBody(code="bad_input", message="the request is not valid: its JSON is nested too deep"))


EXCEPTION_HANDLERS: dict[int | type[Exception], Callable[..., Response[Any]]] = {
    LekiwiError: _lekiwi,
    HTTPException: _http,
    RecursionError: _too_deep,
    Exception: _unexpected,
}
