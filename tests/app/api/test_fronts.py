"""Trials, fronts and choices over HTTP."""

import io
import json

import pytest
from pyarrow import parquet

from app.report.reading import read_document
from app.report.schema import document_adapter

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def study(house, client):
    made = house.study(client)
    house.finish(made)
    return house.store.study(made.id)


class TestFront:
    def test_is_the_document_of_a_run(self, client, study):
        answer = client.get(f"/v1/studies/{study.id}/front")
        document_adapter().validate_python(answer.json())
        assert [point.coefficients[0] for point in read_document(answer.json()).front.points] == [0.2, 0.5, 0.8]

    @pytest.mark.parametrize(
        ("ask", "media"),
        [
            ({"params": {"format": "csv"}}, "text/csv; charset=utf-8"),
            ({"headers": {"Accept": "text/csv"}}, "text/csv; charset=utf-8"),
            ({"headers": {"Accept": "application/json;q=0.5, text/*"}}, "text/csv; charset=utf-8"),
            ({"headers": {"Accept": "application/vnd.apache.parquet"}}, "application/vnd.apache.parquet"),
            ({"headers": {"Accept": "text/html, */*;q=0.1"}}, "application/json"),
        ],
    )
    def test_comes_as_asked(self, client, study, ask, media):
        answer = client.get(f"/v1/studies/{study.id}/front", **ask)
        assert (answer.status_code, answer.headers["content-type"]) == (200, media)

    def test_parquet_and_csv_hold_the_same(self, client, study):
        table = parquet.read_table(io.BytesIO(client.get(f"/v1/studies/{study.id}/front", params={"format": "parquet"}).content))
        rows = client.get(f"/v1/studies/{study.id}/front", params={"format": "csv"}).text.splitlines()
        assert ",".join(table.column_names) == rows[0]
        assert table.column("c:mnist").to_pylist() == [float(row.split(",")[1]) for row in rows[1:]]

    @pytest.mark.parametrize("accept", ["image/png", "text/html;q=nonsense", "application/json;q=0"])
    def test_says_what_there_is(self, client, study, accept):
        answer = client.get(f"/v1/studies/{study.id}/front", headers={"Accept": accept})
        assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")

    def test_is_not_sent_twice(self, client, study):
        first = client.get(f"/v1/studies/{study.id}/front")
        again = client.get(f"/v1/studies/{study.id}/front", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
        assert client.get(f"/v1/studies/{study.id}/front", params={"format": "csv"}).headers["etag"] != first.headers["etag"]

    def test_has_a_picture_and_a_page(self, client, study):
        assert client.get(f"/v1/studies/{study.id}/front.png").content.startswith(PNG)
        page = client.get(f"/v1/studies/{study.id}/report")
        assert page.headers["content-type"].startswith("text/html")
        assert study.id in page.text

    def test_is_not_there_yet(self, house, client):
        study = house.study(client)
        answer = client.get(f"/v1/studies/{study.id}/front")
        assert answer.status_code == 404
        assert "submitted" in answer.json()["detail"]


class TestTrials:
    def test_page_by_number(self, client, study):
        first = client.get(f"/v1/studies/{study.id}/trials", params={"limit": 3}).json()
        rest = client.get(f"/v1/studies/{study.id}/trials", params={"limit": 3, "cursor": first["next"]}).json()
        assert [trial["number"] for trial in first["items"] + rest["items"]] == [0, 1, 2, 3, 4]
        assert rest["next"] is None
        assert first["items"][0]["scores"] == {"mnist": 0.5, "landsat": 0.6}

    def test_come_as_a_table(self, client, study):
        rows = client.get(f"/v1/studies/{study.id}/trials", headers={"Accept": "text/csv"}).text.splitlines()
        assert rows[0] == "trial,origin,c:mnist,c:landsat,search:mnist,search:landsat,status,seconds"
        assert len(rows) == 6

    def test_are_none_at_first(self, house, client):
        study = house.study(client)
        assert client.get(f"/v1/studies/{study.id}/trials").json() == {"items": [], "next": None}
        assert client.get(f"/v1/studies/{study.id}/trials?format=csv").text.count("\n") == 1


class TestChoose:
    @pytest.mark.parametrize(
        ("wish", "share"),
        [
            ({"weights": {"mnist": 1, "landsat": 1}}, 0.5),
            ({"weights": {"mnist": 1}}, 1.0),
            ({"target": {"mnist": 0.7, "landsat": 0.3}}, 0.7),
            ({"maximize": "landsat", "constraints": [{"task": "mnist", "at_least": 0.25}]}, 0.25),
            ({"maximize": "mnist", "constraints": [{"task": "mnist", "at_least": 0.1, "at_most": 0.4}]}, 0.4),
        ],
    )
    def test_serves_the_wish(self, client, study, wish, share):
        answer = client.post(f"/v1/studies/{study.id}/choose", json=wish)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["coefficients"] == pytest.approx([share, 1 - share], abs=0.011)
        assert body["predicted"]["mnist"]["low"] < body["predicted"]["mnist"]["score"] < body["predicted"]["mnist"]["high"]

    def test_says_what_could_be_had(self, client, study):
        bounds = [{"task": "mnist", "at_least": 0.9}, {"task": "landsat", "at_least": 0.9}]
        answer = client.post(f"/v1/studies/{study.id}/choose", json={"knee": True, "constraints": bounds})
        assert (answer.status_code, answer.json()["code"]) == (422, "surrogate.infeasible")
        assert "best reachable 1" in answer.json()["detail"]

    @pytest.mark.parametrize(
        "wish",
        [
            {}, {"knee": False}, {"knee": True, "maximize": "mnist"}, {"weights": {}}, {"weights": {"mnist": -1, "landsat": 2}},
            {"weights": {"other": 1}}, {"target": {"mnist": 1}}, {"maximize": "other"}, {"weights": {"mnist": "1"}},
            {"knee": True, "constraints": [{"task": "mnist"}]}, {"knee": True, "more": 1},
            {"knee": True, "constraints": [{"task": "other", "at_least": 0}]},
        ],
    )  # fmt: skip
    def test_refuses_what_is_no_wish(self, client, study, wish):
        assert client.post(f"/v1/studies/{study.id}/choose", json=wish).status_code == 422

    def test_refuses_what_json_does_not_know(self, client, study):
        body = json.dumps({"weights": {"mnist": float("inf"), "landsat": 1.0}})
        answer = client.post(f"/v1/studies/{study.id}/choose", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422

    def test_needs_a_front(self, house, client):
        study = house.study(client)
        assert client.post(f"/v1/studies/{study.id}/choose", json={"knee": True}).status_code == 404
