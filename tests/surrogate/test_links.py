"""Links invert, rise, stay inside the bounds, and know their slope."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from surrogate.errors import InvalidRequestError
from surrogate.history import Scale
from surrogate.links import Link, link_for

ACCURACY = Scale(0.0, 1.0, examples=100, proportion=True)
LOSS = Scale(0.0, None, maximize=False)
CORRELATION = Scale(-1.0, 1.0)
BELOW_TWO = Scale(None, 2.0)
FREE = Scale(None, None)
SOME = torch.tensor([0.2, 0.4, 0.9], dtype=torch.float64)


def links() -> list[Link]:
    return [link_for(scale, SOME) for scale in (ACCURACY, LOSS, CORRELATION, BELOW_TWO, FREE)]


class TestLink:
    @given(st.lists(st.floats(-6, 6), min_size=1, max_size=8))
    def test_inverse_undoes_forward_of_a_clipped_score(self, linked: list[float]) -> None:
        for link in links():
            scores = link.clip(link.inverse(torch.tensor(linked, dtype=torch.float64)))
            torch.testing.assert_close(link.inverse(link.forward(scores)), scores, atol=1e-9, rtol=1e-9)

    @given(st.floats(-4, 4))
    def test_the_linked_value_comes_back(self, linked: float) -> None:
        value = torch.tensor([linked], dtype=torch.float64)
        for link in links():
            torch.testing.assert_close(link.forward(link.inverse(value)), value, atol=1e-7, rtol=1e-7)

    @given(st.floats(-8, 8))
    def test_derivative_is_that_of_the_inverse(self, linked: float) -> None:
        for link in links():
            value = torch.tensor(linked, dtype=torch.float64, requires_grad=True)
            (slope,) = torch.autograd.grad(link.inverse(value), value)
            torch.testing.assert_close(link.derivative(value.detach()), slope, atol=1e-12, rtol=1e-9)

    def test_inverse_rises_inside_the_bounds(self) -> None:
        grid = torch.linspace(-20, 20, 101, dtype=torch.float64)
        for link in links():
            scores = link.inverse(grid)
            assert bool((scores.diff() > 0).all())
            assert link.low is None or float(scores.min()) >= link.low
            assert link.high is None or float(scores.max()) <= link.high


class TestLinkFor:
    @pytest.mark.parametrize(
        ("scale", "name"),
        [(ACCURACY, "logit"), (CORRELATION, "logit"), (LOSS, "softplus"), (BELOW_TWO, "softplus"), (FREE, "identity")],
    )
    def test_bounds_choose_the_link(self, scale: Scale, name: str) -> None:
        assert link_for(scale, SOME).name == name

    def test_proportions_are_clipped_by_half_an_example(self) -> None:
        link = link_for(ACCURACY, SOME)
        clipped = link.clip(torch.tensor([0.0, 1.0], dtype=torch.float64))
        assert clipped.tolist() == pytest.approx([1 / 200, 1 - 1 / 200])

    def test_scores_on_the_bounds_stay_finite(self) -> None:
        for link in links():
            bounds = torch.tensor([bound for bound in (link.low, link.high) if bound is not None], dtype=torch.float64)
            assert bool(torch.isfinite(link.forward(bounds)).all())

    def test_one_sided_links_do_not_depend_on_the_unit(self) -> None:
        small, large = link_for(LOSS, SOME * 1e-3), link_for(LOSS, SOME * 1e3)
        torch.testing.assert_close(small.forward(SOME * 1e-3) * 1e6, large.forward(SOME * 1e3))

    def test_the_identity_can_be_asked_for(self) -> None:
        assert link_for(ACCURACY, SOME, "identity").forward(SOME).equal(SOME)

    @pytest.mark.parametrize(("scale", "name"), [(LOSS, "logit"), (FREE, "softplus"), (ACCURACY, "softplus")])
    def test_a_link_without_its_bounds_is_refused(self, scale: Scale, name: str) -> None:
        with pytest.raises(InvalidRequestError):
            link_for(scale, SOME, name)  # type: ignore[arg-type]
