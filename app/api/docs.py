"""The description of every call (OpenAPI), and Swagger UI over it from assets of our own."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic.json_schema import models_json_schema

from app.api.auth import SECURITY
from app.api.links import link_calls
from app.api.manifests import SHAPES
from app.api.problems import Problem, ProblemError

router = APIRouter(include_in_schema=False)

_POLICY = (
    "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_MEDIA = {".js": "text/javascript", ".css": "text/css", ".png": "image/png"}
_ASSETS = frozenset({"swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"})
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>mergefront: calls</title>
<link rel="icon" href="/docs/favicon.png"><link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="calls"></div><script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>
"""
_START = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#calls", deepLinking: true, persistAuthorization: true, tryItOutEnabled: true, validatorUrl: null,
});
"""
_DESCRIPTION = """Sampled coefficients in, a Pareto front of merges with honest error bars and merged weights out.

Create a study with its manifest, follow it, read its front, choose a merge. Errors are `application/problem+json` with a stable `code`.
"""


@router.get("/openapi.json")
async def description(request: Request) -> JSONResponse:
    return JSONResponse(request.app.openapi())


@router.get("/docs")
async def page() -> HTMLResponse:
    return HTMLResponse(_PAGE, headers=HEADERS)


@router.get("/docs/start.js")
async def start() -> Response:
    return Response(_START, media_type="text/javascript", headers=HEADERS)


@router.get("/docs/{asset}")
def asset(asset: str) -> Response:
    if asset not in _ASSETS:
        raise ProblemError(404, f"no page /docs/{asset}")
    path = _assets() / asset
    return Response(path.read_bytes(), media_type=_MEDIA[path.suffix], headers=HEADERS | {"Cache-Control": "max-age=86400"})


def install_schema(app: FastAPI) -> None:
    """Has `app.openapi()` tell of every call, with the shapes that calls read by themselves."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _described(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
    models: Any = [(model, "validation") for model in (*SHAPES, Problem)]
    _, shapes = models_json_schema(models, ref_template="#/components/schemas/{model}")
    components: dict[str, Any] = schema.setdefault("components", {})
    components.setdefault("schemas", {}).update(shapes["$defs"])
    components["securitySchemes"] = SECURITY
    link_calls(schema)
    return schema


def _assets() -> Path:
    found = find_spec("fastapi_offline")
    assert found is not None and found.origin is not None  # a dependency of ours
    return Path(found.origin).parent / "static"
