"""Trials as clients see them."""

from typing import Annotated

from pydantic import BaseModel, Field

from app.api.schemas.study import FailureShape, failure_shape
from app.domain.study import TransformSpec
from app.domain.task import Split
from app.domain.trial import Origin, Trial, TrialStatus


class TrialTransform(BaseModel):
    """The transform of the task vectors."""

    name: Annotated[str, Field(description="none, ties, dare or magnitude.", examples=["ties"])]
    density: Annotated[float, Field(description="Share of entries kept, of ties and magnitude.", examples=[0.2])]
    drop: Annotated[float, Field(description="Share of entries dropped, of dare.", examples=[0.0])]
    seed: Annotated[int, Field(description="Of dare.", examples=[0])]


def transform_shape(transform: TransformSpec) -> TrialTransform:
    return TrialTransform(name=transform.name, density=transform.density, drop=transform.drop, seed=transform.seed)


class TrialShape(BaseModel):
    """One merge, measured on one split."""

    id: Annotated[str, Field(description="Stands for this trial for good.", examples=["trial_01jd8e5v7hk2m3n4p5q6r7s8t9"])]
    number: Annotated[int, Field(description="Counts from 0 within the study.", examples=[7])]
    origin: Annotated[Origin, Field(description="What it was proposed for.", examples=["design"])]
    split: Annotated[Split, Field(description="On which examples it is measured.", examples=["search"])]
    label: Annotated[str, Field(description="What a named merge is called.", examples=[""])]
    coefficients: Annotated[list[float], Field(description="D coefficients.", examples=[[0.5, 0.25]])]
    transform: TrialTransform
    status: Annotated[TrialStatus, Field(description="Where it stands.", examples=["finished"])]
    scores: Annotated[dict[str, float], Field(description="By task, in the metric's sign.", examples=[{"mnist": 0.97, "landsat": 0.81}])]
    seconds: Annotated[float | None, Field(description="How long measuring took.", examples=[1.25])]
    failure: Annotated[FailureShape | None, Field(description="Why it has no scores.", examples=[None])]
    attempts: Annotated[int, Field(description="How often the half that is due, or was last, was begun.", examples=[1])]


class TrialPage(BaseModel):
    """A page of trials, by number."""

    items: list[TrialShape]
    next: Annotated[str | None, Field(description="Cursor of the next page; null at the end.", examples=[None])]


def trial_shape(trial: Trial) -> TrialShape:
    proposal = trial.proposal
    return TrialShape(
        id=trial.id,
        number=trial.number,
        origin=proposal.origin,
        split=proposal.split,
        label=proposal.label,
        coefficients=list(proposal.coefficients),
        transform=transform_shape(proposal.transform),
        status=trial.status,
        scores=dict(trial.scores),
        seconds=trial.seconds,
        failure=failure_shape(trial.failure),
        attempts=trial.attempts,
    )
