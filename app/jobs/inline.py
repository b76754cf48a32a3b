"""Jobs run in this process, first sent first run: the command line's own queue, and the twin of the service's in tests."""

from collections.abc import Callable, Iterator, Mapping

from app.jobs.port import Job, JobName, Jobs


class InlineJobs(Jobs):
    """Holds equal jobs once while they wait. For one thread."""

    def __init__(self) -> None:
        self._waiting: dict[Job, None] = {}

    def send(self, name: JobName, subject: str) -> None:
        self._waiting[Job(name, subject)] = None

    @property
    def waiting(self) -> tuple[Job, ...]:
        return tuple(self._waiting)

    def check(self) -> None:
        """Always ready."""

    def drain(self, handlers: Mapping[JobName, Callable[[str], None]]) -> Iterator[Job]:
        """Runs what waits, and what that sends, until nothing waits; yields each job once it has run.

        What a handler raises comes out of the iteration, with a note that names the job; the rest waits for the next drain.
        """
        while self._waiting:
            job = next(iter(self._waiting))
            del self._waiting[job]
            _run(job, handlers[job.name])
            yield job


def _run(job: Job, handler: Callable[[str], None]) -> None:
    try:
        handler(job.subject)
    except BaseException as error:
        error.add_note(f"while running {job.name} for {job.subject}")
        raise
