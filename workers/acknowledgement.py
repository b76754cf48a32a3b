"""Acknowledging jobs to the broker, where the broker may have died since it gave them out."""

import logging

from celery.worker import state
from celery.worker.request import Request

EX_LOST = 1
log = logging.getLogger(__name__)


class SureRequest(Request):  # type: ignore[misc]
    """A job whose worker ends, to be started anew, where it cannot be acknowledged."""

    acknowledged: bool

    def acknowledge(self) -> None:
        if self.acknowledged:
            return
        try:
            self._on_ack(log, ())
            self.acknowledged = True
        except self._connection_errors as error:
            # the transport would go on to count it among the jobs in work, and with one at a time fetch no other ever again
            log.warning("the broker was lost before a job was acknowledged: this worker starts anew: %s", error)
            state.should_stop = EX_LOST
