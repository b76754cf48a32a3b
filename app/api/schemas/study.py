"""Studies as clients see them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.domain.study import Failure, Study, StudyStatus
from app.domain.trial import TrialStatus

STUDY_ID = "study_01jd8e5v7hk2m3n4p5q6r7s8t9"


class FailureShape(BaseModel):
    """Why something failed."""

    code: Annotated[str, Field(description="Stable.", examples=["unmet"])]
    message: Annotated[str, Field(description="What happened.", examples=["none of 12 trials could be measured: there is nothing to fit"])]


class Links(BaseModel):
    """Where more of the study is."""

    self: Annotated[str, Field(description="The study.", examples=[f"/v1/studies/{STUDY_ID}"])]
    events: Annotated[str, Field(description="What happens, as server-sent events.", examples=[f"/v1/studies/{STUDY_ID}/events"])]
    trials: Annotated[str, Field(description="Its trials.", examples=[f"/v1/studies/{STUDY_ID}/trials"])]
    front: Annotated[str, Field(description="Its front.", examples=[f"/v1/studies/{STUDY_ID}/front"])]
    report: Annotated[str, Field(description="Its report, a page.", examples=[f"/v1/studies/{STUDY_ID}/report"])]


class StudyShape(BaseModel):
    """A study and where it stands."""

    id: Annotated[str, Field(description="Stands for this study for good.", examples=[STUDY_ID])]
    name: Annotated[str, Field(description="As the manifest says; stands for the newest study of this name.", examples=["images-4"])]
    status: Annotated[StudyStatus, Field(description="Where it stands.", examples=["running"])]
    revision: Annotated[int, Field(description="How often it was extended.", examples=[0])]
    created: Annotated[datetime, Field(description="UTC.", examples=["2026-01-02T03:04:05.678901Z"])]
    updated: Annotated[datetime, Field(description="When anything of it changed last, UTC.", examples=["2026-01-02T03:09:10.111213Z"])]
    failure: Annotated[
        FailureShape | None,
        Field(description="Why it failed; of a cancelled study, why it has no front.", examples=[None]),
    ]
    tasks: Annotated[list[str], Field(description="Names of its tasks.", examples=[["mnist", "landsat"]])]
    tuned: Annotated[list[str], Field(description="Names of its tuned checkpoints, in order.", examples=[["mnist", "landsat"]])]
    budget: Annotated[int, Field(description="Trials that feed the surrogates.", examples=[60])]
    links: Links


class StudyDetail(StudyShape):
    """A study, with how far its trials are and what it was made from."""

    trials: Annotated[
        dict[TrialStatus, int],
        Field(
            description="How many trials there are of each status: `offered` waits for an external evaluator, `asked` is with one.",
            examples=[{"proposed": 0, "measuring": 1, "offered": 0, "asked": 0, "finished": 41, "failed": 0}],
        ),
    ]
    digests: Annotated[dict[str, str], Field(description="sha256 of every input, by its key.", examples=[{"models.base": "ab" * 32}])]


class StudyPage(BaseModel):
    """A page of studies, oldest first."""

    items: list[StudyShape]
    next: Annotated[str | None, Field(description="Cursor of the next page; null at the end.", examples=[None])]


class Extension(BaseModel):
    """How a finished study goes on."""

    model_config = ConfigDict(extra="forbid", strict=True)

    trials: Annotated[int, Field(description="How many more trials.", ge=1, le=100_000, examples=[20])]


def study_shape(study: Study) -> StudyShape:
    return StudyShape(**_fields(study))


def study_detail(study: Study, counts: dict[TrialStatus, int]) -> StudyDetail:
    return StudyDetail(**_fields(study), trials={status: counts.get(status, 0) for status in TrialStatus}, digests=dict(study.digests))


def failure_shape(failure: Failure | None) -> FailureShape | None:
    return None if failure is None else FailureShape(code=failure.code, message=failure.message)


def _fields(study: Study) -> dict[str, Any]:
    place = f"/v1/studies/{study.id}"
    return {
        "id": study.id,
        "name": study.spec.name,
        "status": study.status,
        "revision": study.revision,
        "created": study.created,
        "updated": study.updated,
        "failure": failure_shape(study.failure),
        "tasks": [task.name for task in study.spec.tasks],
        "tuned": list(study.spec.models.tuned),
        "budget": study.spec.method.budget,
        "links": Links(self=place, **{name: f"{place}/{name}" for name in ("events", "trials", "front", "report")}),
    }
