"""The explorer: one page over the calls, for people who look before they script."""

from importlib.resources import files

from fastapi import APIRouter, Response

from app.api.docs import HEADERS

router = APIRouter(include_in_schema=False)


@router.get("/")
def page() -> Response:
    return _file("explorer.html", "text/html")


@router.get("/explorer.css")
def style() -> Response:
    return _file("explorer.css", "text/css")


@router.get("/explorer.js")
def script() -> Response:
    return _file("explorer.js", "text/javascript")


def _file(name: str, media: str) -> Response:
    content = files("app.api").joinpath("explorer", name).read_bytes()
    return Response(content, media_type=f"{media}; charset=utf-8", headers=HEADERS)
