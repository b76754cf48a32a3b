"""Figures of the service for Prometheus."""

import logging
import time
from collections.abc import Iterator
from functools import lru_cache

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.auth import guarded_router
from app.api.service import Service, service_of

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
router: APIRouter = guarded_router("", "health")

_EXAMPLE = 'mergefront_studies{status="running"} 1.0\n'


log = logging.getLogger(__name__)


class Figures:
    """The counters of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter("mergefront_requests", "Requests answered.", labels, registry=self.registry)
        self.seconds = Histogram("mergefront_request_seconds", "Time to the first byte.", ("method", "route"), registry=self.registry)
        # the series by their labels: finding one in the registry costs as much as counting
        self._series = lru_cache(maxsize=4096)(self._find_series)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        counter, histogram = self._series(method, route, status)
        counter.inc()
        histogram.observe(seconds)

    def _find_series(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        return self.requests.labels(method, route, status), self.seconds.labels(method, route)


class StudyFigures(Collector):
    """Studies by status, counted when asked."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        gauge = GaugeMetricFamily("mergefront_studies", "Studies by status.", labels=("status",))
        for status, count in self._service.store.study_counts().items():
            gauge.add_metric((status.value,), count)
        yield gauge


class Measured:
    """Counts and times every request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        figures: Figures = scope["app"].state.figures
        started = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = _route(scope)
                seconds = time.perf_counter() - started
                log.info("%s %s: %d in %.1f ms", scope["method"], scope["path"], message["status"], 1e3 * seconds)
                figures.count(scope["method"], route, message["status"], seconds)
            await send(message)

        await self._app(scope, receive, counted)


@router.get(
    "/metrics", response_class=Response, summary="Figures for Prometheus",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}}}},
)
def metrics(request: Request) -> Response:
    """Needs a key like every other call, once there are keys: give Prometheus one of scope read."""
    figures: Figures = request.app.state.figures
    counted = CollectorRegistry()
    counted.register(StudyFigures(service_of(request)))
    return Response(generate_latest(figures.registry) + generate_latest(counted), media_type=MEDIA_TYPE)


def _route(scope: Scope) -> str:
    # templates, since ids would make a series each
    found = scope.get("route")
    return str(getattr(found, "path", "")) or "none"
