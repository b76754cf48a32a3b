"""What becomes of a worker whose broker dies while a job is in work."""

import pytest
from celery.worker import state
from kombu.message import Message

from workers.acknowledgement import EX_LOST, SureRequest
from workers.tasks import measure_trial


class Channel:
    """The way to a broker; `error`: what acknowledging meets."""

    no_ack_consumers = None

    def __init__(self, error=None):
        self.error, self.acknowledged = error, []

    def basic_ack(self, tag, multiple=False):
        if self.error:
            raise self.error
        self.acknowledged.append(tag)


def job(channel):
    headers = {"id": "1", "task": measure_trial.name}
    body = b'[["trial_1"], {}, {}]'
    message = Message(body, channel=channel, delivery_tag="tag", headers=headers, content_type="application/json", content_encoding="utf-8")
    return SureRequest(message, on_ack=message.ack_log_error, task=measure_trial, connection_errors=(ConnectionError,))


@pytest.fixture(autouse=True)
def running(monkeypatch):
    monkeypatch.setattr(state, "should_stop", None)


@pytest.mark.parametrize("task", ["advance_study", "measure_trial", "train_adapter"])
def test_every_job_is_one_that_is_sure(task):
    assert measure_trial.app.tasks[task].Request is SureRequest


def test_goes_on_where_the_broker_hears_of_it():
    channel = Channel()
    done = job(channel)
    done.acknowledge()
    done.acknowledge()
    assert (channel.acknowledged, done.acknowledged, state.should_stop) == (["tag"], True, None)


@pytest.mark.parametrize("error", [ConnectionError("refused"), BrokenPipeError("gone")])
def test_starts_anew_where_the_broker_is_lost(error):
    lost = job(Channel(error))
    lost.acknowledge()
    assert (lost.acknowledged, state.should_stop) == (False, EX_LOST)
