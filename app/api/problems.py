"""Errors as RFC 9457 problems: one shape for every error of every call, whoever raised it."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.domain.errors import (
    ConflictError,
    Fault,
    GoneError,
    MergefrontError,
    NotFoundError,
    NotReadyError,
    QuotaError,
    RefusedError,
    StorageFullError,
    UnavailableError,
    UnmetError,
)
from checkpoints.errors import CheckpointError
from surrogate.errors import InfeasibleError, InvalidRequestError, SurrogateError

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2

# how the domain's words read in HTTP; the first class that fits counts
_STATUS: tuple[tuple[type[Exception], HTTPStatus], ...] = (
    (RefusedError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (QuotaError, HTTPStatus.TOO_MANY_REQUESTS),
    (StorageFullError, HTTPStatus.INSUFFICIENT_STORAGE),
    (GoneError, HTTPStatus.GONE),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (UnmetError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (UnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (CheckpointError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (InvalidRequestError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (InfeasibleError, HTTPStatus.UNPROCESSABLE_ENTITY),
)
_CODES: Mapping[int, str] = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    410: "gone",
    411: "length_required",
    413: "too_large",
    415: "media_type",
    416: "range",
    422: "refused",
    429: "quota",
    507: "storage_full",
}

log = logging.getLogger(__name__)


class FaultShape(BaseModel):
    """One thing that is wrong."""

    where: Annotated[str, Field(description="Path of the key that is at fault, empty for the whole.", examples=["method.budget"])]
    problem: Annotated[str, Field(description="What is wrong with it.", examples=["3 trials are too few: 15 or more are needed"])]


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(title="Problem")

    type: Annotated[str, Field(description="Stable name of the kind of problem.", examples=["urn:mergefront:problem:not_found"])]
    title: Annotated[str, Field(description="The HTTP status in words.", examples=["Not Found"])]
    status: Annotated[int, Field(description="The HTTP status.", examples=[404])]
    code: Annotated[str, Field(description="Stable code, the end of `type`.", examples=["not_found"])]
    detail: Annotated[str, Field(description="What is wrong here, and what to do.", examples=["no study images-4"])]
    faults: Annotated[list[FaultShape], Field(description="Every single thing that is wrong, where there are several.", examples=[[]])]


class ProblemError(Exception):
    """A problem of HTTP itself, which the domain does not know: authorisation, media types, ranges, sizes."""

    def __init__(
        self,
        status: int,
        detail: str,
        code: str = "",
        headers: Mapping[str, str] | None = None,
        faults: Sequence[Fault] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code or _code_of(status)
        self.headers = dict(headers or {})
        self.faults = tuple(faults)


def problem_response(error: ProblemError) -> JSONResponse:
    """The answer that tells of `error`."""
    body = {
        "type": f"urn:mergefront:problem:{error.code}",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "code": error.code,
        "detail": str(error),
        "faults": [{"where": fault.where, "problem": fault.problem} for fault in error.faults],
    }
    return JSONResponse(body, error.status, headers=error.headers, media_type=MEDIA_TYPE)


def translate(error: Exception) -> ProblemError:
    """The problem that an error of ours or of the framework's is to a client."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return ProblemError(error.status_code, str(error.detail), headers=error.headers)
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return ProblemError(500, "the service failed; its log says more", code="internal")
    assert isinstance(error, MergefrontError | CheckpointError | SurrogateError)  # the table holds no other
    passing = status == HTTPStatus.SERVICE_UNAVAILABLE or isinstance(error, NotReadyError)
    headers = {"Retry-After": str(RETRY_SECONDS)} if passing else {}
    return ProblemError(status, str(error), error.code, headers, _faults(error))


def install_problems(app: FastAPI) -> None:
    """Has every error of `app` answered in the one shape."""
    for kind in (ProblemError, MergefrontError, CheckpointError, SurrogateError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    problem = translate(error)
    if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
        problem.headers["Allow"] = ", ".join(_allowed(request))
    if problem.status >= 500:
        log.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
    return problem_response(problem)


def _allowed(request: Request) -> list[str]:
    # the framework names those of the first call at this path alone
    methods: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        match, _ = route.matches(request.scope)
        methods |= set(route.methods or ()) if match is not Match.NONE else set()
    return sorted(methods)


def _code_of(status: int) -> str:
    return _CODES.get(status, "error")


def _faults(error: Exception) -> Sequence[Fault]:
    if isinstance(error, RefusedError):
        return error.faults
    if isinstance(error, CheckpointError):
        return [Fault("", problem) for problem in error.faults]
    return ()


def _invalid(error: RequestValidationError) -> ProblemError:
    found: Sequence[Any] = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return ProblemError(400, f"the body is not JSON: {found[0]['ctx']['error']}", code="malformed")
    faults = [Fault(_path(one["loc"]), _sentence(one)) for one in found]
    return ProblemError(422, "\n".join(map(str, faults)), faults=faults)


def _sentence(found: Any) -> str:
    if found["type"] == "value_error":
        return str(found["ctx"]["error"])
    return f"{found['msg'][0].lower()}{found['msg'][1:]}"


def _path(location: Sequence[str | int]) -> str:
    # pydantic says first whether it was the body, the query, the path or a header
    inner = location[1:] if location[0] == "body" else location
    return ".".join(str(part) for part in inner if part != "[key]")


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI tells of these statuses."""
    return {status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: _documented(status)}} for status in statuses}


def _documented(status: int) -> dict[str, Any]:
    example = {
        "type": f"urn:mergefront:problem:{_code_of(status)}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": _code_of(status),
        "detail": "what is wrong, where, and what to do",
        "faults": [],
    }
    return {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
