"""Which representation a client wants: by `format=`, or by `Accept`."""

from collections.abc import Mapping

from fastapi import Request

from app.api.problems import ProblemError


def media_type(request: Request, offered: Mapping[str, str], chosen: str | None) -> str:
    """The name of the representation; `offered`: media types by name, the first where nothing is asked. Raises ProblemError 406."""
    if chosen is not None:
        return chosen
    wanted = sorted(_ranges(request.headers.get("accept", "*/*")), key=lambda one: -one[1])
    for pattern, quality in wanted:
        for name, media in offered.items():
            if quality > 0 and _fits(pattern, media):
                return name
    raise ProblemError(406, f"there is {', '.join(offered.values())}; ask for one of them with Accept or format=")


def _ranges(accept: str) -> list[tuple[str, float]]:
    return [_range(part) for part in accept.split(",") if part.strip()] or [("*/*", 1.0)]


def _range(part: str) -> tuple[str, float]:
    media, *parameters = (piece.strip() for piece in part.split(";"))
    quality = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
    try:
        return media.lower(), float(quality)
    except ValueError:
        return media.lower(), 0.0


def _fits(pattern: str, media: str) -> bool:
    kind, _, inner = pattern.partition("/")
    return pattern == media or pattern == "*/*" or (inner == "*" and media.startswith(f"{kind}/"))
