"""The contract of the store where studies end and go on: cancelled with what was found, extended, found by name."""

from dataclasses import replace

import pytest

from app.domain.errors import ConflictError, NotFoundError
from app.domain.study import Failure, StudyStatus

NONE = Failure("unmet", "none of 3 trials could be measured")


@pytest.fixture
def cancelled(store, make_study):
    study = make_study()
    store.add_study(study)
    return store.step_study(study.id, StudyStatus.CANCELLED)


class TestCancelled:
    def test_keep_the_front_found_so_far(self, store, cancelled, make_front):
        assert store.idle_studies() == (cancelled.id,)
        kept = store.finish(make_front(cancelled.id))
        assert kept.status is StudyStatus.CANCELLED
        assert store.front(cancelled.id) == make_front(cancelled.id)
        assert store.events(cancelled.id)[-1].kind == "study.front"
        assert store.idle_studies() == ()

    def test_say_that_there_is_none(self, store, cancelled):
        assert store.forgo_front(cancelled.id, NONE).failure == NONE
        assert store.study(cancelled.id).status is StudyStatus.CANCELLED
        assert store.events(cancelled.id)[-1].data == {"revision": 0, "code": NONE.code, "message": NONE.message}
        assert store.idle_studies() == ()

    def test_end_once(self, store, cancelled, make_front):
        store.finish(make_front(cancelled.id))
        with pytest.raises(ConflictError):
            store.finish(make_front(cancelled.id))
        with pytest.raises(ConflictError):
            store.forgo_front(cancelled.id, NONE)

    def test_only_cancelled_studies_do_without(self, store, make_study):
        study = make_study()
        store.add_study(study)
        with pytest.raises(ConflictError, match="running"):
            store.forgo_front(study.id, NONE)


class TestExtended:
    def test_are_submitted_again_with_their_front(self, store, make_study, make_front):
        study = make_study()
        store.add_study(study)
        store.finish(make_front(study.id))
        larger = replace(study.spec, method=replace(study.spec.method, budget=90))
        extended = store.extend(study.id, larger)
        assert (extended.status, extended.revision, extended.spec) == (StudyStatus.SUBMITTED, 1, larger)
        assert store.study(study.id) == extended
        assert store.front(study.id) == make_front(study.id)
        assert store.idle_studies() == (study.id,)

    def test_end_with_a_front_of_their_own(self, store, make_study, make_front):
        study = make_study()
        store.add_study(study)
        store.finish(make_front(study.id))
        store.extend(study.id, study.spec)
        store.step_study(study.id, StudyStatus.RUNNING)
        newer = replace(make_front(study.id), evaluations={"design": 99})
        store.finish(newer)
        assert store.front(study.id) == newer

    @pytest.mark.parametrize("status", [status for status in StudyStatus if status is not StudyStatus.FINISHED])
    def test_were_finished(self, store, make_study, status):
        study = make_study(status=status)
        store.add_study(study)
        with pytest.raises(ConflictError):
            store.extend(study.id, study.spec)


class TestTenants:
    def test_have_pages_of_their_own(self, store, make_study):
        for name, tenant in (("study_a", "x"), ("study_b", "y"), ("study_c", "x")):
            store.add_study(replace(make_study(name), tenant=tenant))
        assert [study.id for study in store.studies(tenant="x")] == ["study_a", "study_c"]
        assert [study.id for study in store.studies("study_a", tenant="x")] == ["study_c"]
        assert len(store.studies()) == 3

    def test_have_names_of_their_own(self, store, make_study):
        for name, tenant in (("study_a", "x"), ("study_b", "x"), ("study_c", "y")):
            store.add_study(replace(make_study(name), tenant=tenant))
        assert store.named_study("x", "digits").id == "study_b"
        assert store.named_study("y", "digits").id == "study_c"
        for tenant, name in (("z", "digits"), ("x", "letters")):
            with pytest.raises(NotFoundError):
                store.named_study(tenant, name)
