"""What each kind of broker is told."""

import pytest

from app.domain.errors import RefusedError
from app.jobs.broker import HARD_SECONDS, broker_options
from app.jobs.celery_producer import make_celery


@pytest.mark.parametrize("url", ["redis://localhost:6379/0", "rediss://localhost/1", "redis+socket:///run/broker.sock"])
def test_a_job_comes_back_only_after_the_hard_limit(url):
    assert broker_options(url)["visibility_timeout"] > HARD_SECONDS


def test_a_socket_file_is_told_nothing_of_tcp():
    assert "socket_keepalive" in broker_options("redis://localhost")
    assert "socket_keepalive" not in broker_options("redis+socket:///run/broker.sock")


@pytest.mark.parametrize("url", ["sqla+sqlite:///jobs.db", "amqp://localhost", "localhost:6379", ""])
def test_other_kinds_are_refused_by_name(url):
    with pytest.raises(RefusedError, match=r"broker: .* use redis://"):
        make_celery(url)


def test_only_json_is_read():
    settings = make_celery("redis://localhost").conf
    assert (settings.accept_content, settings.task_serializer, settings.result_backend) == (["json"], "json", None)
