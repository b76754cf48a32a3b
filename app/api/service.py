"""What every call works with: the ports and the settings, once a process."""

from dataclasses import dataclass

from fastapi import Request

from app.blobs.port import Blobs
from app.config import Settings
from app.jobs.port import Jobs
from app.store.catalog import Catalog
from app.store.port import Store


@dataclass(frozen=True)
class Service:
    settings: Settings
    store: Store
    catalog: Catalog
    blobs: Blobs
    jobs: Jobs


def service_of(request: Request) -> Service:
    """The service of the application that got the request."""
    found = request.app.state.service
    assert isinstance(found, Service)  # app.main puts it there
    return found
