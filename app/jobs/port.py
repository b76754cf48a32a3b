"""The port of wake-ups: a job is a name and an id. Losing one loses nothing, since the rows say what is open."""

from dataclasses import dataclass
from typing import Literal, Protocol

JobName = Literal["advance_study", "measure_trial", "train_adapter"]


@dataclass(frozen=True)
class Job:
    """What is to be run, and for the study, trial or fine-tuning with which id."""

    name: JobName
    subject: str


class Jobs(Protocol):
    """Delivers at least once, in no promised order; handlers decide from the rows what there is to do."""

    def send(self, name: JobName, subject: str) -> None:
        """Asks that `name` be run for what has the id `subject`. Raises UnavailableError when it cannot be sent."""

    def check(self) -> None:
        """Raises UnavailableError when nothing could be sent now."""
