"""What the description promises, tried with many requests that nobody thought of: no 5xx, no answer of another shape."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app.blobs.incoming import Incoming
from app.domain.key import Scope
from app.main import build_app

EXAMPLES = 12
# rules between keys, and what a manifest's names stand for, are told in words: no schema says them, and 422 is their answer
CALLS = [(path, method) for path, calls in build_app(None).openapi()["paths"].items() for method in calls]


@pytest.fixture(autouse=True)
def boundless(monkeypatch):
    """A disk that has room for whatever is announced: 507 is told of the disk, not of the request."""
    monkeypatch.setattr(Incoming, "free", lambda self: 1 << 60)


@pytest.fixture
def described(house):
    """The description as a live service gives it, with a study that is finished; and the header that opens every call."""
    client = house.client(Scope.ADMIN)
    house.finish(house.study(client))
    return schemathesis.openapi.from_asgi("/openapi.json", build_app(house.service)), client.headers["Authorization"]


@pytest.mark.parametrize(("path", "method"), CALLS)
def test_every_call_keeps_its_promise(described, path, method):
    description, key = described

    @given(case=description[path][method].as_strategy())
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def keeps_its_promise(case):
        case.headers = {name: value for name, value in case.headers.items() if name.lower() != "prefer"} | {"Authorization": key}
        case.call_and_validate(base_url="http://localhost", excluded_checks=[positive_data_acceptance])

    keeps_its_promise()
