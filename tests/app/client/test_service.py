"""Problems of a service as errors of the program."""

import httpx
import pytest

from app.client.service import ServiceClient, error_of, open_client
from app.domain.errors import ConflictError, NotFoundError, QuotaError, RefusedError, StorageFullError, UnavailableError
from app.domain.key import Scope


def answered(status, body=None):
    request = httpx.Request("GET", "http://service/v1/studies")
    if body is None:
        return httpx.Response(status, text="plain words", request=request)
    return httpx.Response(status, json=body, headers={"content-type": "application/problem+json"}, request=request)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, RefusedError), (403, RefusedError), (404, NotFoundError), (409, ConflictError), (422, RefusedError), (429, QuotaError),
     (500, UnavailableError), (503, UnavailableError), (507, StorageFullError)],
)  # fmt: skip
def test_a_status_is_the_error_that_it_was(status, kind):
    told = error_of(answered(status, {"detail": "what is wrong", "faults": []}))
    assert type(told) is kind and "what is wrong" in str(told)


def test_faults_keep_their_keys():
    told = error_of(answered(422, {"detail": "", "faults": [{"where": "method.budget", "problem": "too few"}]}))
    assert [str(fault) for fault in told.faults] == ["method.budget: too few"]


def test_what_is_no_problem_is_told_by_its_status():
    assert "502" in str(error_of(answered(502)))


def test_a_service_that_is_not_there():
    with open_client("http://127.0.0.1:9") as service, pytest.raises(UnavailableError, match="is a service running there"):
        service.get("/healthz")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", ""])
def test_what_is_no_url(url):
    with pytest.raises(RefusedError, match="--server"), open_client(url):
        pass


def test_the_key_goes_with_every_call(house):
    client = house.client(Scope.READ)
    assert ServiceClient(client).get("/v1/studies")["items"] == []
    del client.headers["Authorization"]
    with pytest.raises(RefusedError, match="--key"):
        ServiceClient(client).get("/v1/studies")
