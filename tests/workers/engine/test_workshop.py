"""One evaluator at a time, kept while its study is at work."""

from dataclasses import replace

from workers.engine.workshop import keep_latest


def test_a_study_keeps_its_evaluator_until_another_comes(house):
    built = house()
    study, other = built.study, replace(built.study, id="study_other")
    made = []

    def build(wanted):
        made.append(wanted.id)
        return replace(built.evaluator)

    evaluator_of = keep_latest(build)
    assert evaluator_of(study) is evaluator_of(study)
    evaluator_of(other)
    evaluator_of(study)
    assert made == [study.id, other.id, study.id]


def test_an_evaluator_that_could_not_be_built_is_not_kept(house):
    built = house()
    outcomes = iter([MemoryError(), built.evaluator])

    def build(wanted):
        outcome = next(outcomes)
        if isinstance(outcome, MemoryError):
            raise outcome
        return outcome

    evaluator_of = keep_latest(build)
    try:
        evaluator_of(built.study)
    except MemoryError:
        assert evaluator_of(built.study) is built.evaluator
    else:
        raise AssertionError("the error was swallowed")
