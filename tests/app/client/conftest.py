"""A service in memory behind a client, and connections that break."""

import httpx
import pytest

from app.client.service import ServiceClient
from app.domain.key import Scope
from tests.app.api.conftest import files, house, make_house  # noqa: F401


class Breaking(httpx.BaseTransport):
    """Hands requests on, but for those that `breaks` picks by their number: these are cut before or after they arrived."""

    def __init__(self, inner, breaks):
        self.inner = inner
        self.breaks = breaks
        self.seen = 0

    def handle_request(self, request):
        self.seen += 1
        cut = self.breaks.get(self.seen)
        if cut == "before":
            raise httpx.ConnectError("cut", request=request)
        answer = self.inner.handle_request(request)
        if cut == "after":
            raise httpx.ReadError("cut", request=request)
        return answer


@pytest.fixture
def http(house):  # noqa: F811
    return house.client(Scope.WRITE)


@pytest.fixture
def service(http):
    return ServiceClient(http)


@pytest.fixture
def broken(http, monkeypatch):
    """Makes the client's connections break; returns what counts them."""
    monkeypatch.setattr("app.client.upload.FIRST_WAIT_SECONDS", 0.0)
    monkeypatch.setattr("app.client.follow.RETRY_SECONDS", 0.0)

    def make(**breaks):
        http._transport = Breaking(http._transport, {int(number.lstrip("n")): cut for number, cut in breaks.items()})
        return http._transport

    return make
