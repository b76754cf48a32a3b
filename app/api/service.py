"""What every call works with: the ports and the settings, once a process."""

from dataclasses import dataclass

from fastapi import Request

from app.actions.localise import Source
from app.blobs.port import Blobs
from app.blobs.remote import Remotes
from app.config import Settings
from app.jobs.port import Jobs
from app.store.catalog import Catalog
from app.store.port import Store


@dataclass(frozen=True)
class Service:
    """`blobs`: what tenants gave; `results`: what workers made of it, which stays. `remotes`: where files are read that lie elsewhere; None
    where the operator allows no such place.
    """

    settings: Settings
    store: Store
    catalog: Catalog
    blobs: Blobs
    results: Blobs
    jobs: Jobs
    remotes: Remotes | None = None

    @property
    def source(self) -> Source:
        """Where the files of what is registered come from."""
        return Source(self.blobs, self.settings.data / "local", self.remotes)


def service_of(request: Request) -> Service:
    """The service of the application that got the request."""
    found = request.app.state.service
    assert isinstance(found, Service)  # app.main puts it there
    return found
