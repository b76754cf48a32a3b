"""Events as they are told: all of them, once, from wherever the client was."""

import pytest

from app.domain.study import Failure, StudyStatus
from tests.app.api.conftest import front_of


def told(answer):
    """The events of a stream, as (id, kind)."""
    blocks = [dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":")) for block in answer.text.split("\n\n")]
    return [(int(block["id"]), block["event"]) for block in blocks if block]


@pytest.fixture
def study(house, client):
    made = house.study(client)
    house.finish(made, trials=2)
    return made


class TestStream:
    def test_tells_everything_from_the_start_to_the_end(self, client, study):
        answer = client.get(f"/v1/studies/{study.id}/events")
        assert answer.headers["content-type"].startswith("text/event-stream")
        numbers, kinds = zip(*told(answer), strict=True)
        assert numbers == tuple(range(1, len(numbers) + 1))
        assert (kinds[0], kinds[1], kinds[-1]) == ("study.submitted", "study.running", "study.finished")

    @pytest.mark.parametrize("ask", [{"headers": {"Last-Event-ID": "3"}}, {"params": {"after": 3}}])
    def test_goes_on_where_the_client_was(self, client, study, ask):
        whole, rest = told(client.get(f"/v1/studies/{study.id}/events")), told(client.get(f"/v1/studies/{study.id}/events", **ask))
        assert rest == whole[3:]

    def test_sends_clients_home_that_have_everything(self, client, study):
        last = told(client.get(f"/v1/studies/{study.id}/events"))[-1][0]
        assert client.get(f"/v1/studies/{study.id}/events", headers={"Last-Event-ID": str(last)}).status_code == 204

    def test_ends_with_the_front_of_a_cancelled_study(self, house, client):
        made = house.study(client)
        house.store.step_study(made.id, StudyStatus.CANCELLED)
        house.store.forgo_front(made.id, Failure("unmet", "nothing was measured"))
        assert told(client.get(f"/v1/studies/{made.id}/events"))[-1][1] == "study.front"

    def test_sends_home_who_knows_a_cancelled_studys_front(self, house, client):
        made = house.study(client)
        house.measure(made, 1)
        house.store.step_study(made.id, StudyStatus.CANCELLED)
        house.store.finish(front_of(made.id))
        last = told(client.get(f"/v1/studies/{made.id}/events"))[-1]
        assert last[1] == "study.front"
        assert client.get(f"/v1/studies/{made.id}/events", headers={"Last-Event-ID": str(last[0])}).status_code == 204

    @pytest.mark.parametrize("last", ["x", "-1", "1e3", "9" * 20])
    def test_refuses_ids_that_no_event_has(self, client, study, last):
        assert client.get(f"/v1/studies/{study.id}/events", headers={"Last-Event-ID": last}).status_code == 400
