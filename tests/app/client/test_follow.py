"""Following a study through breaks: every event once."""

import pytest

from app.client.follow import follow
from app.domain.errors import NotFoundError, UnavailableError
from app.domain.key import Scope


@pytest.fixture
def study(house, http, files):
    study = house.study(http)
    house.finish(study)
    return study


def test_tells_every_event_until_the_end(service, study, house):
    events = list(follow(service, study.id))
    assert [event.number for event in events] == list(range(1, len(house.store.events(study.id)) + 1))
    assert events[-1].kind == "study.finished"
    assert events[1].data["study"] == study.id


@pytest.mark.parametrize("cut", ["before", "after"])
def test_goes_on_after_a_break(service, study, broken, cut):
    broken(n1=cut, n2=cut)
    numbers = [event.number for event in follow(service, study.id)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_gives_up_on_what_stays_away(service, study, broken, monkeypatch):
    monkeypatch.setattr("app.client.follow.PATIENCE_SECONDS", -1.0)
    broken(n1="before")
    with pytest.raises(UnavailableError):
        list(follow(service, study.id))


def test_of_no_study_is_told(service, house):
    house.client(Scope.READ)
    with pytest.raises(NotFoundError):
        list(follow(service, "study_none"))
