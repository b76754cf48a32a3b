"""What every store keeps: studies, proposals, fronts, events."""

from dataclasses import replace
from datetime import UTC, timedelta

import pytest

from app.domain.errors import ConflictError, NotFoundError, RefusedError
from app.domain.front import Figures
from app.domain.study import STUDY_TRANSITIONS, Failure, StudyStatus
from app.domain.trial import Lease, Measurement, TrialStatus

NOBODYS = Lease("trial_none", "w", 1, 0.0)


class TestStudies:
    def test_come_back_as_they_were_added(self, store, make_study):
        study = make_study(status=StudyStatus.SUBMITTED)
        store.add_study(study)
        assert store.study(study.id) == study

    def test_keep_the_order_of_their_models(self, store, make_study):
        study = make_study()
        store.add_study(study)
        assert list(store.study(study.id).spec.models.tuned) == ["zeros", "ones", "a"]

    def test_are_added_once(self, store, make_study):
        study = make_study()
        store.add_study(study)
        with pytest.raises(ConflictError, match=study.id):
            store.add_study(replace(study, status=StudyStatus.CANCELLED))
        assert store.study(study.id) == study
        assert len(store.events(study.id)) == 1

    def test_page_in_order_of_id(self, store, make_study):
        names = ["study_b", "study_Z", "study_a", "study_10", "study_9"]
        for name in names:
            store.add_study(make_study(name))
        first = store.studies(limit=2)
        rest = store.studies(after=first[-1].id)
        assert [study.id for study in first + rest] == sorted(names)

    @pytest.mark.parametrize(
        "ask",
        [
            lambda store, front: store.study("study_none"),
            lambda store, front: store.step_study("study_none", StudyStatus.RUNNING),
            lambda store, front: store.propose("study_none", 0, []),
            lambda store, front: store.trial("trial_none"),
            lambda store, front: store.trials("study_none"),
            lambda store, front: store.claim("trial_none", "w", 1.0, 0.0),
            lambda store, front: store.renew(NOBODYS, 1.0, 0.0),
            lambda store, front: store.release(NOBODYS),
            lambda store, front: store.record(NOBODYS, Measurement({}, {}, 1.0)),
            lambda store, front: store.record_failure(NOBODYS, Failure("c", "m")),
            lambda store, front: store.finish(front("study_none")),
            lambda store, front: store.front("study_none"),
            lambda store, front: store.events("study_none"),
        ],
    )
    def test_unknown_ids_are_not_found(self, store, make_front, ask):
        with pytest.raises(NotFoundError, match="none"):
            ask(store, make_front)


class TestSteps:
    @pytest.mark.parametrize("now", StudyStatus)
    @pytest.mark.parametrize("then", [StudyStatus.RUNNING, StudyStatus.FAILED, StudyStatus.CANCELLED])
    def test_follow_the_table(self, store, make_study, now, then):
        study = make_study(status=now)
        store.add_study(study)
        failure = Failure("unmet", "too few trials") if then is StudyStatus.FAILED else None
        if then in STUDY_TRANSITIONS[now]:
            stepped = store.step_study(study.id, then, failure)
            assert (stepped.status, stepped.failure) == (then, failure)
            assert store.study(study.id) == stepped
        else:
            with pytest.raises(ConflictError):
                store.step_study(study.id, then, failure)
            assert store.study(study.id) == study

    def test_to_finished_needs_a_front(self, store, make_study):
        study = make_study()
        store.add_study(study)
        with pytest.raises(ConflictError, match="front"):
            store.step_study(study.id, StudyStatus.FINISHED)

    @pytest.mark.parametrize(("then", "failure"), [(StudyStatus.FAILED, None), (StudyStatus.CANCELLED, Failure("c", "m"))])
    def test_a_failure_goes_with_failing_alone(self, store, make_study, then, failure):
        study = make_study()
        store.add_study(study)
        with pytest.raises(ConflictError, match="failure"):
            store.step_study(study.id, then, failure)

    def test_the_end_of_a_study_ends_its_open_trials(self, store, make_study, make_proposals):
        study = make_study()
        store.add_study(study)
        done, measuring, waiting = store.propose(study.id, 0, make_proposals(3))
        store.record(store.claim(done.id, "w", 10.0, 0.0), Measurement({"zeros": 1.0}, {}, 1.0))
        store.claim(measuring.id, "w", 10.0, 0.0)
        store.step_study(study.id, StudyStatus.CANCELLED)
        assert store.trial(done.id).status is TrialStatus.FINISHED
        for trial in (measuring, waiting):
            assert store.trial(trial.id).status is TrialStatus.FAILED
            assert store.trial(trial.id).failure.code == "study_ended"
        assert [event.kind for event in store.events(study.id)][-3:] == ["trial.failed", "trial.failed", "study.cancelled"]


class TestProposals:
    def test_become_numbered_trials(self, store, make_study, make_proposals):
        study = make_study()
        store.add_study(study)
        proposals = make_proposals(5)
        added = store.propose(study.id, 0, proposals[:2]) + store.propose(study.id, 2, proposals[2:])
        assert store.trials(study.id) == added
        assert [trial.number for trial in added] == [0, 1, 2, 3, 4]
        assert [trial.proposal for trial in added] == proposals
        assert {trial.status for trial in added} == {TrialStatus.PROPOSED}

    def test_bring_the_pairing_and_the_first_stays(self, store, make_study, make_proposals):
        study = make_study()
        store.add_study(study)
        for first, pairing in ((0, "ab" * 32), (2, "cd" * 32), (4, "")):
            store.propose(study.id, first, make_proposals(2), pairing)
            assert store.study(study.id).pairing == "ab" * 32

    @pytest.mark.parametrize("first", [0, 1, 3])
    def test_from_a_stale_plan_are_refused(self, store, make_study, make_proposals, first):
        study = make_study()
        store.add_study(study)
        store.propose(study.id, 0, make_proposals(2))
        with pytest.raises(ConflictError, match="2 trials"):
            store.propose(study.id, first, make_proposals(1))
        assert len(store.trials(study.id)) == 2

    @pytest.mark.parametrize("status", [status for status in StudyStatus if status is not StudyStatus.RUNNING])
    def test_need_a_running_study(self, store, make_study, make_proposals, status):
        study = make_study(status=status)
        store.add_study(study)
        with pytest.raises(ConflictError, match=status.value):
            store.propose(study.id, 0, make_proposals(1))

    def test_none_are_no_event(self, store, make_study):
        study = make_study()
        store.add_study(study)
        assert store.propose(study.id, 0, []) == ()
        assert len(store.events(study.id)) == 1


class TestFronts:
    def test_finish_their_study(self, store, make_study, make_front):
        study = make_study()
        store.add_study(study)
        front = make_front(study.id)
        with pytest.raises(NotFoundError):
            store.front(study.id)
        finished = store.finish(front)
        assert finished.status is StudyStatus.FINISHED
        assert store.study(study.id) == finished
        assert store.front(study.id) == front

    @pytest.mark.parametrize("status", [StudyStatus.SUBMITTED, StudyStatus.FINISHED, StudyStatus.FAILED])
    def test_need_a_running_study(self, store, make_study, make_front, status):
        study = make_study(status=status)
        store.add_study(study)
        with pytest.raises(ConflictError):
            store.finish(make_front(study.id))
        with pytest.raises(NotFoundError):
            store.front(study.id)

    def test_never_change(self, store, make_study, make_front):
        study = make_study()
        store.add_study(study)
        front = make_front(study.id)
        store.finish(front)
        with pytest.raises(ConflictError):
            store.finish(replace(front, points=()))
        assert store.front(study.id) == front

    def test_that_cannot_be_written_leave_the_study_running(self, store, make_study, make_front, make_proposals):
        study = make_study()
        store.add_study(study)
        store.propose(study.id, 0, make_proposals(1))
        with pytest.raises(RefusedError, match="figures.hypervolume: nan"):
            store.finish(replace(make_front(study.id), figures=Figures(float("nan"), {})))
        assert store.study(study.id).status is StudyStatus.RUNNING
        assert store.trials(study.id)[0].status is TrialStatus.PROPOSED
        assert [event.kind for event in store.events(study.id)] == ["study.running", "trials.proposed"]


class TestEvents:
    def test_tell_the_whole_story(self, store, make_study, make_proposals, make_front):
        study = make_study(status=StudyStatus.SUBMITTED)
        store.add_study(study)
        store.step_study(study.id, StudyStatus.RUNNING)
        first, second, third = (trial.id for trial in store.propose(study.id, 0, make_proposals(3)))
        store.release(store.claim(first, "w", 9.0, 0.0))
        store.record(store.claim(first, "w", 9.0, 0.0), Measurement({"zeros": 0.25}, {"zeros": "ab"}, 1.5))
        store.record_failure(store.claim(second, "w", 9.0, 0.0), Failure("measurement", "NaN in mnist"))
        store.finish(make_front(study.id))
        events = store.events(study.id)
        assert [event.number for event in events] == list(range(1, len(events) + 1))
        assert [(event.kind, event.data) for event in events] == [
            ("study.submitted", {}),
            ("study.running", {}),
            ("trials.proposed", {"first": 0, "count": 3}),
            ("trial.measuring", {"trial": first, "number": 0, "attempts": 1}),
            ("trial.proposed", {"trial": first, "number": 0, "attempts": 0}),
            ("trial.measuring", {"trial": first, "number": 0, "attempts": 1}),
            ("trial.finished", {"trial": first, "number": 0, "attempts": 1, "scores": {"zeros": 0.25}}),
            ("trial.measuring", {"trial": second, "number": 1, "attempts": 1}),
            ("trial.failed", {"trial": second, "number": 1, "attempts": 1, "code": "measurement", "message": "NaN in mnist"}),
            ("trial.failed", {"trial": third, "number": 2, "attempts": 0, **events[9].data}),
            ("study.finished", {}),
        ]
        assert events[9].data["code"] == "study_ended"

    def test_page(self, store, make_study):
        study = make_study(status=StudyStatus.SUBMITTED)
        store.add_study(study)
        store.step_study(study.id, StudyStatus.RUNNING)
        store.step_study(study.id, StudyStatus.CANCELLED)
        everything = store.events(study.id)
        assert store.events(study.id, after=1, limit=1) == everything[1:2]
        assert store.events(study.id, after=3) == ()

    def test_are_timed_in_utc_and_date_their_study(self, store, make_study):
        study = make_study(status=StudyStatus.SUBMITTED)
        store.add_study(study)
        store.step_study(study.id, StudyStatus.RUNNING)
        newest = store.events(study.id)[-1]
        assert newest.at.utcoffset() == timedelta(0)
        assert newest.at.tzinfo is UTC
        assert newest.at == store.study(study.id).updated > study.updated
