"""The HTTP application, put together: the only place that knows which adapters serve a request."""

import sys

import uvicorn
from fastapi import APIRouter, FastAPI

from app.api.auth import KeyRing
from app.api.checkpoints import router as checkpoints
from app.api.choose import router as choose
from app.api.computing import Computing
from app.api.datasets import router as datasets
from app.api.docs import install_schema
from app.api.docs import router as docs
from app.api.events import router as events
from app.api.external import router as external
from app.api.finetunes import router as finetunes
from app.api.fronts import router as fronts
from app.api.health import router as health
from app.api.hub import router as hub
from app.api.lookups import Lookups
from app.api.merges import router as merges
from app.api.metrics import Figures, Measured
from app.api.metrics import router as metrics
from app.api.pages import router as pages
from app.api.problems import install_problems
from app.api.service import Service
from app.api.studies import router as studies
from app.api.trials import router as trials
from app.api.uploads import router as uploads
from app.blobs.opening import open_place, open_remotes, open_results
from app.config import Settings
from app.domain.errors import Fault, RefusedError
from app.jobs.port import Jobs
from app.store.sql import open_store
from app.store.sql_catalog import open_catalog

ROUTERS: tuple[APIRouter, ...] = (
    health, fronts, choose, studies, trials, events, metrics, docs, merges, hub, external, uploads, checkpoints, datasets, finetunes, pages,
)
SWITCH_SECONDS = 0.0005
"""How long a thread that could go on waits for the one that runs."""
GRACE_SECONDS = 5


def create_app(settings: Settings, jobs: Jobs) -> FastAPI:
    """The application on the places that the settings name.

    Raises RefusedError where others could reach it and no key exists; UnavailableError where a place cannot be reached.
    """
    service = open_service(settings, jobs)
    check_closed(service)
    return build_app(service)


def open_service(settings: Settings, jobs: Jobs) -> Service:
    """The ports on the settings' places. Raises UnavailableError."""
    settings.data.mkdir(parents=True, exist_ok=True)
    store = open_store(settings.database_url)
    blobs = open_place(settings.blobs, settings.data, settings.s3_endpoint, settings.cache_bytes)
    results = open_results(settings.blobs, settings.data, settings.s3_endpoint, settings.cache_bytes)
    remotes = open_remotes(settings.buckets, settings.hub, settings.data, settings.s3_endpoint, settings.cache_bytes)
    return Service(settings, store, open_catalog(settings.database_url), blobs, results, jobs, remotes)


def check_closed(service: Service) -> None:
    """Raises RefusedError where machines other than this one could call a service without keys."""
    if not service.settings.loopback and not service.catalog.keys():
        host = service.settings.host
        problem = f"{host} can be reached by others, and there is no key: run `mergefront key create` first, or use 127.0.0.1"
        raise RefusedError([Fault("host", problem)])


def build_app(service: Service) -> FastAPI:
    """The application around a service that is open."""
    app = FastAPI(title="mergefront", version="0.1.0", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    app.state.key_ring = KeyRing()
    app.state.figures = Figures()
    app.state.computing = Computing()
    app.state.lookups = Lookups()
    install_problems(app)
    for router in ROUTERS:
        app.include_router(router)
    install_schema(app)
    app.add_middleware(Measured)
    return app


def run_app(app: FastAPI, host: str, port: int) -> None:
    """Serves the application in this process until it is told to end."""
    # a look-up gives the interpreter away at every call of the database; at Python's 5 ms a turn, busy requests would hold it up for long
    sys.setswitchinterval(SWITCH_SECONDS)
    uvicorn.run(app, host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=GRACE_SECONDS)
