"""Jobs sent through Celery, by name: who sends knows no task, who runs it knows no request."""

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from app.domain.errors import UnavailableError
from app.jobs.broker import broker_options
from app.jobs.port import JobName, Jobs

QUEUE = "mergefront"
_SEND_ONCE_MORE = {"max_retries": 1, "interval_start": 0.1, "interval_max": 0.1}


def make_celery(broker: str) -> Celery:
    """What senders and workers must agree on. Raises RefusedError for a broker of an unknown kind."""
    celery = Celery("mergefront", broker=broker, set_as_current=False)
    celery.conf.update(
        task_default_queue=QUEUE,
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        broker_transport_options=broker_options(broker),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        task_send_sent_event=False,
    )
    return celery


class CeleryJobs(Jobs):
    """May be shared by threads; processes make their own."""

    def __init__(self, broker: str) -> None:
        self._celery = make_celery(broker)

    def send(self, name: JobName, subject: str) -> None:
        try:
            self._celery.send_task(name, (subject,), retry_policy=_SEND_ONCE_MORE)
        except (OperationalError, RedisError, OSError) as error:
            raise UnavailableError(f"the broker does not take {name} for {subject}: {error}") from error

    def check(self) -> None:
        self.waiting()

    def waiting(self) -> int:
        """How many jobs nobody has taken yet. Raises UnavailableError."""
        try:
            with self._celery.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0.1)
                return int(connection.default_channel.client.llen(QUEUE))
        except (OperationalError, RedisError, OSError) as error:
            raise UnavailableError(f"the broker cannot be reached: {error}") from error

    def close(self) -> None:
        """Gives connections back."""
        self._celery.close()
