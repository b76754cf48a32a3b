import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.preferences import parse_constraint, parse_vector, parse_weights
from app.domain.errors import RefusedError

TASKS = ("mnist", "landsat", "20ng-v1.0")


class TestWeights:
    def test_tasks_not_named_weigh_nothing(self) -> None:
        assert parse_weights("mnist=2, landsat=1", TASKS) == {"mnist": 2.0, "landsat": 1.0, "20ng-v1.0": 0.0}

    @pytest.mark.parametrize("text", ["", "mnist", "mnist=x", "mnist=nan", "mnist=-1", "mnist=0", "mnst=1", "mnist=1;landsat=2"])
    def test_others_are_refused(self, text: str) -> None:
        with pytest.raises(RefusedError):
            parse_weights(text, TASKS)


class TestVector:
    @given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
    def test_what_is_printed_is_read_back(self, values: list[float]) -> None:
        columns = [str(place) for place in range(len(values))]
        assert parse_vector(",".join(map(repr, values)), columns) == tuple(values)

    @pytest.mark.parametrize("text", ["", "1", "1,2,3", "1,inf", "1,x"])
    def test_others_are_refused(self, text: str) -> None:
        with pytest.raises(RefusedError):
            parse_vector(text, ("a", "b"))


class TestConstraint:
    @pytest.mark.parametrize(
        ("text", "meant"),
        [
            ("mnist>=0.95", ("mnist", 0.95, True)),
            (" landsat <= 1e-3", ("landsat", 0.001, False)),
            ("20ng-v1.0>=.5", ("20ng-v1.0", 0.5, True)),
        ],
    )
    def test_bounds(self, text: str, meant: tuple[str, float, bool]) -> None:
        assert parse_constraint(text, TASKS) == meant

    @pytest.mark.parametrize("text", ["", "mnist", "mnist>0.9", "mnist>=", "mnist>=high", "mnst>=0.9", "mnist>=nan"])
    def test_others_are_refused(self, text: str) -> None:
        with pytest.raises(RefusedError):
            parse_constraint(text, TASKS)
