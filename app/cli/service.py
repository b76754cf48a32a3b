"""`mergefront serve`, and the parts of the service one by one: `api`, `worker`, `sweeper`.

What no option says is read from the environment (MERGEFRONT_DATABASE, MERGEFRONT_BROKER, ...).
"""

import signal
import socket
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from app.domain.errors import Fault, RefusedError, UnavailableError

if TYPE_CHECKING:
    # settings bring pydantic and SQLAlchemy with them, and every command passes through this module
    from app.config import Settings

Data = Annotated[Path | None, typer.Option(help="Directory of database, blobs and caches.", show_default="var")]
Broker = Annotated[str | None, typer.Option(metavar="URL", help="Redis or Valkey that carries wake-ups: redis://HOST:6379/0.")]
Host = Annotated[str | None, typer.Option(help="Address to listen at; others than this machine need a key.", show_default="127.0.0.1")]
Port = Annotated[int | None, typer.Option(help="Port to listen at.", show_default="8000")]
Factories = Annotated[
    str | None, typer.Option(metavar="FILE.py:CALLABLE,...", help="Factories that studies may name, code of yours.", show_default="none")
]

_GRACE_SECONDS = 5
_LOCK_SECONDS = 3.0  # what was killed a moment ago may hold the directory a moment longer


def serve(
    host: Host = None,
    port: Port = None,
    data: Data = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes.", show_default="1")] = None,
    broker: Broker = None,
    factories: Factories = None,
) -> None:
    """The whole service in one command: API, private broker, sweeper and workers. Ctrl-C ends all of it."""
    from app.cli.console import err
    from workers.broker import await_broker, broker_command, broker_url
    from workers.hold import hold_directory
    from workers.supervisor import Part, Supervisor, service_parts

    settings = settings_of(host=host, port=port, data=data, workers=workers, broker=broker, factories=factories)
    with hold_directory(settings.data, "serve.lock", "--data", _LOCK_SECONDS) as lock:
        _check_port_free(settings)
        own = None
        if not settings.broker:
            own = Part("broker", broker_command(settings.data), lambda alive: await_broker(settings.data, alive))
        options = {
            "host": settings.host, "port": str(settings.port), "data": str(settings.data),
            "broker": settings.broker or broker_url(settings.data),
        }
        if settings.factories:
            options["factories"] = ",".join(settings.factories)
        parts = service_parts(options, settings.workers, own)
        place = f"http://{settings.host}:{settings.port}"
        Supervisor(parts, lock).run(_until_told(), lambda: err.print(f"{place}: data in {settings.data}; Ctrl-C ends it"))


def api(host: Host = None, port: Port = None, data: Data = None, broker: Broker = None, factories: Factories = None) -> None:
    """The HTTP API alone."""
    import uvicorn

    from app.jobs.celery_producer import CeleryJobs
    from app.main import create_app

    settings = settings_of(host=host, port=port, data=data, broker=broker, factories=factories)
    application = create_app(settings, CeleryJobs(_broker_of(settings)))
    uvicorn.run(
        application, host=settings.host, port=settings.port, log_config=None, access_log=False, timeout_graceful_shutdown=_GRACE_SECONDS
    )


def worker(
    data: Data = None,
    broker: Broker = None,
    name: Annotated[str, typer.Option(help="What it is called among its like.")] = "worker",
) -> None:
    """One worker: measures trials and takes studies further."""
    from workers.main import run_worker

    settings = settings_of(data=data, broker=broker)
    _broker_of(settings)
    raise typer.Exit(run_worker(settings, name))


def sweeper(data: Data = None, broker: Broker = None) -> None:
    """The process that wakes what was lost with a worker or a broker; one is enough, more do no harm."""
    from workers.sweeper import run_sweeper

    settings = settings_of(data=data, broker=broker)
    _broker_of(settings)
    run_sweeper(settings, _until_told())


def upgrade_database(url: str | None) -> None:
    """Brings the tables at `url`, by default the service's own, to this release's schema."""
    from app.store.schema import upgrade

    settings = settings_of(database=url)
    if not settings.database:
        settings.data.mkdir(parents=True, exist_ok=True)
    upgrade(settings.database_url)


def settings_of(**given: object) -> "Settings":
    """Settings with the options that were given, and a plain log. Raises RefusedError."""
    from pydantic import ValidationError

    from app.config import Settings
    from app.journal import start_journal

    try:
        settings = Settings.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        faults = [Fault(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors()]
        raise RefusedError(faults) from error
    start_journal(settings.log_level)
    return settings


def _broker_of(settings: "Settings") -> str:
    if not settings.broker:
        raise RefusedError([Fault("broker", "not named: --broker redis://HOST:6379/0, or `mergefront serve`, which brings its own")])
    return settings.broker


def _check_port_free(settings: "Settings") -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise UnavailableError(f"{settings.host}:{settings.port} cannot be listened at: {error.strerror}; choose --port") from error


def _until_told() -> Event:
    """Set by SIGINT or SIGTERM."""
    told = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    return told
