"""What a client wants from a merge, and what it gets."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.actions.choose import Choice
from app.domain.candidates import Balance, Best, Bound, Target, Weights, Wish

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_BY_TASK = {"mnist": 2.0, "landsat": 1.0}
_EXAMPLE: dict[str, Any] = {"weights": _BY_TASK, "constraints": [{"task": "mnist", "at_least": 0.5}]}


class ConstraintShape(BaseModel):
    """A bound that the merge keeps: `at_least`, `at_most`, or both."""

    model_config = _STRICT

    task: Annotated[str, Field(description="Name of a task.", examples=["mnist"])]
    at_least: Annotated[float | None, Field(description="Smallest score, in the metric's own sign.", examples=[0.9])] = None
    at_most: Annotated[float | None, Field(description="Largest score, in the metric's own sign.", examples=[1.0])] = None

    @model_validator(mode="after")
    def _bounded(self) -> "ConstraintShape":
        if self.at_least is None and self.at_most is None:
            raise ValueError("give at_least, at_most, or both")
        return self

    def bounds(self) -> list[Bound]:
        lower = [] if self.at_least is None else [Bound(self.task, self.at_least, at_least=True)]
        return lower if self.at_most is None else [*lower, Bound(self.task, self.at_most, at_least=False)]


class ChoiceRequest(BaseModel):
    """Exactly one of `weights`, `target`, `knee` and `maximize`, within `constraints`."""

    model_config = ConfigDict(**_STRICT, json_schema_extra={"examples": [_EXAMPLE]})

    weights: Annotated[
        dict[str, float] | None, Field(description="How much each task matters; 0 where not named.", examples=[_BY_TASK])
    ] = None
    target: Annotated[
        dict[str, float] | None,
        Field(description="Scores to reach or pass evenly, of every task.", examples=[{"mnist": 0.95, "landsat": 0.8}]),
    ] = None
    knee: Annotated[bool, Field(description="The best balance of all tasks.", examples=[False])] = False
    maximize: Annotated[
        str | None, Field(description="The task to serve best (the smallest score, where smaller is better).", examples=[None])
    ] = None
    constraints: Annotated[
        list[ConstraintShape], Field(max_length=1000, description="Bounds to keep.", examples=[[{"task": "mnist", "at_least": 0.5}]])
    ] = []

    @model_validator(mode="after")
    def _one_wish(self) -> "ChoiceRequest":
        if sum((self.weights is not None, self.target is not None, self.knee, self.maximize is not None)) != 1:
            raise ValueError("give exactly one of weights, target, knee and maximize")
        return self

    def wish(self) -> Wish:
        if self.weights is not None:
            return Weights(self.weights)
        if self.target is not None:
            return Target(self.target)
        return Balance() if self.maximize is None else Best(self.maximize)


class PredictedShape(BaseModel):
    """A predicted score on the search split, in the metric's own sign."""

    score: Annotated[float, Field(description="Expected.", examples=[0.957])]
    low: Annotated[float, Field(description="Lower end of the 95 % interval.", examples=[0.949])]
    high: Annotated[float, Field(description="Upper end of the 95 % interval.", examples=[0.964])]


class ChoiceShape(BaseModel):
    """The merge that serves the wish best, as predicted: nothing was evaluated."""

    study: Annotated[str, Field(description="Id of the study.", examples=["study_01jd8e5v7hk2m3n4p5q6r7s8t9"])]
    revision: Annotated[int, Field(description="Of the study.", examples=[0])]
    columns: Annotated[list[str], Field(description="Names of the coefficients.", examples=[["mnist", "landsat"]])]
    coefficients: Annotated[list[float], Field(description="D coefficients.", examples=[[0.62, 0.41]])]
    predicted: Annotated[
        dict[str, PredictedShape],
        Field(description="Scores by task.", examples=[{"mnist": {"score": 0.957, "low": 0.949, "high": 0.964}}]),
    ]


def choice_shape(study_id: str, revision: int, choice: Choice) -> ChoiceShape:
    predicted = {task: PredictedShape(score=found.score, low=found.low, high=found.high) for task, found in choice.predicted.items()}
    return ChoiceShape(
        study=study_id, revision=revision, columns=list(choice.columns), coefficients=list(choice.coefficients), predicted=predicted
    )
