"""What external evaluators are told, and what they tell."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.actions.external import AskedTrial
from app.api.schemas.merge import MERGE_ID
from app.api.schemas.study import STUDY_ID
from app.api.schemas.trial import TrialTransform, transform_shape
from app.domain.columns import provisional_columns
from app.domain.merge import Merge
from app.domain.study import Study, StudyStatus
from app.domain.task import Split
from app.domain.trial import Lease

TRIAL_ID = "trial_01jd8e5v7hk2m3n4p5q6r7s8t9"
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_RESULT: dict[str, Any] = {"token": 1, "scores": {"helpfulness": 0.71}, "seconds": 84.5}

Token = Annotated[int, Field(description="That of the lease.", ge=1, lt=2**31, examples=[1])]
Until = Annotated[datetime, Field(description="When the trial goes to somebody else, UTC.", examples=["2026-01-02T03:10:11.121314Z"])]


class TrialLinks(BaseModel):
    """Where the weights are, and where to answer."""

    heartbeat: Annotated[str, Field(description="Keeps the lease.", examples=[f"/v1/trials/{TRIAL_ID}/heartbeat"])]
    result: Annotated[str, Field(description="Takes the scores, or why there are none.", examples=[f"/v1/trials/{TRIAL_ID}/result"])]
    weights: Annotated[str, Field(description="The merge's files, computed as they are read.", examples=[f"/v1/merges/{MERGE_ID}/files"])]


class AskedShape(BaseModel):
    """A trial to be evaluated: the merge at these coefficients, on this split of the evaluator's own examples."""

    id: Annotated[str, Field(description="Of the trial.", examples=[TRIAL_ID])]
    number: Annotated[int, Field(description="Counts from 0 within the study.", examples=[7])]
    split: Annotated[
        Split, Field(description="On `search` choices are made; `report` takes examples that no choice saw.", examples=["search"])
    ]
    columns: Annotated[list[str], Field(description="Names of the coefficients.", examples=[["chat", "code"]])]
    coefficients: Annotated[list[float], Field(description="D coefficients.", examples=[[0.5, 0.25]])]
    transform: TrialTransform
    tasks: Annotated[list[str], Field(description="Names of the tasks whose scores are wanted.", examples=[["helpfulness"]])]
    token: Token
    lease_until: Until
    attempts: Annotated[int, Field(description="How often it was asked for, 3 times at most.", examples=[1])]
    links: TrialLinks


class AskedTrials(BaseModel):
    """Trials that are now the caller's. None are left for now where `items` is empty, and for good where the study has ended."""

    study: Annotated[str, Field(description="Id of the study.", examples=[STUDY_ID])]
    status: Annotated[StudyStatus, Field(description="Where the study stands.", examples=["running"])]
    items: list[AskedShape]


class Heartbeat(BaseModel):
    """Says that the trial is still being evaluated."""

    model_config = _STRICT

    token: Token
    lease: Annotated[
        float | None, Field(description="Seconds from now on; the service's own where not given.", ge=1, le=86_400, examples=[600.0])
    ] = None


class LeaseShape(BaseModel):
    """The lease as it is now."""

    trial: Annotated[str, Field(description="Id of the trial.", examples=[TRIAL_ID])]
    token: Token
    lease_until: Until


class Result(BaseModel):
    """Exactly one of `scores` and `failure`."""

    model_config = ConfigDict(**_STRICT, json_schema_extra={"examples": [_RESULT]})

    token: Token
    scores: Annotated[
        dict[str, float] | None,
        Field(description="By task, in the metric's own sign: all that were asked for.", examples=[{"helpfulness": 0.71}]),
    ] = None
    failure: Annotated[
        str | None, Field(description="Why this merge cannot be scored.", min_length=1, max_length=2000, examples=[None])
    ] = None
    seconds: Annotated[float, Field(description="How long evaluating took.", ge=0, examples=[84.5])] = 0.0

    @model_validator(mode="after")
    def _one_of(self) -> "Result":
        if (self.scores is None) == (self.failure is None):
            raise ValueError("give exactly one of scores and failure")
        return self


def asked_trials(study: Study, asked: Sequence[tuple[AskedTrial, Merge]]) -> AskedTrials:
    return AskedTrials(study=study.id, status=study.status, items=[_asked(study, one, merge) for one, merge in asked])


def lease_shape(lease: Lease) -> LeaseShape:
    return LeaseShape(trial=lease.trial_id, token=lease.token, lease_until=_moment(lease))


def _asked(study: Study, asked: AskedTrial, merge: Merge) -> AskedShape:
    trial, proposal = asked.trial, asked.trial.proposal
    return AskedShape(
        id=trial.id,
        number=trial.number,
        split=proposal.split,
        columns=list(provisional_columns(study.spec, len(proposal.coefficients))),
        coefficients=list(proposal.coefficients),
        transform=transform_shape(proposal.transform),
        tasks=[task.name for task in asked.tasks],
        token=asked.lease.token,
        lease_until=_moment(asked.lease),
        attempts=trial.attempts,
        links=TrialLinks(
            heartbeat=f"/v1/trials/{trial.id}/heartbeat", result=f"/v1/trials/{trial.id}/result", weights=f"/v1/merges/{merge.id}/files"
        ),
    )


def _moment(lease: Lease) -> datetime:
    return datetime.fromtimestamp(lease.until, UTC)
