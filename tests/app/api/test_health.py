"""Health, readiness, figures."""

from prometheus_client.parser import text_string_to_metric_families

from app.domain.errors import UnavailableError
from app.domain.key import Scope


def samples(client):
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {(sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples}


def test_a_live_process_answers_whatever_is_missing(house):
    house.jobs.down = True
    assert house.client().get("/healthz").json() == {"status": "alive"}


def test_a_service_with_all_its_parts_is_ready(house):
    answer = house.client().get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "missing": {}})


def test_a_service_says_which_part_is_missing(house, monkeypatch):
    def gone(*_, **__):
        raise UnavailableError("no route to the database")

    house.jobs.down = True
    monkeypatch.setattr(house.store, "studies", gone)
    answer = house.client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "ready": False,
        "missing": {"database": "no route to the database", "broker": "the broker does not answer"},
    }


def test_figures_count_requests_by_route_and_studies_by_status(house):
    client = house.client(Scope.WRITE)
    house.study(client)
    client.get("/v1/studies/images-2")
    client.get("/v1/studies/nothing")
    client.get("/nowhere")
    found = samples(client)
    route = ("route", "/v1/studies/{reference}")
    assert found["mergefront_requests_total", ("method", "GET"), route, ("status", "200")] == 1
    assert found["mergefront_requests_total", ("method", "GET"), route, ("status", "404")] == 1
    assert found["mergefront_requests_total", ("method", "GET"), ("route", "none"), ("status", "404")] == 1
    assert found["mergefront_request_seconds_count", ("method", "GET"), route] == 2
    assert found["mergefront_studies", ("status", "submitted")] == 1
