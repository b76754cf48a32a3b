"""Calls that go on with what others answered, tried at random against a live server: no 5xx, no answer of another shape."""

from contextlib import suppress

import pytest
import schemathesis
import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import FlakyStrategyDefinition
from safetensors.torch import save_file
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app.api.manifests import EXAMPLE
from app.domain.key import Scope
from app.domain.study import StudyStatus
from app.main import build_app
from tests.live import Live

CREATING = ("POST /v1/studies", "PUT /v1/studies/{reference}")


@pytest.fixture
def weights(files):
    """The example's models, which can be merged."""
    for place, name in enumerate(("base", "mnist", "landsat")):
        save_file({"weight": torch.full((300, 200), float(place)).tril(place)}, files / f"{name}.safetensors")


def converse(conversation, told):
    """Some dozen conversations at a time, until one has come through to what lies behind an id.

    Hypothesis ends a go where the same choices lead elsewhere than before, as they do with a live server's fresh ids. That breaks no
    promise of the service; whatever does comes out as it is.
    """
    chosen = settings(
        max_examples=12, stateful_step_count=8, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    for _ in range(10):
        with suppress(FlakyStrategyDefinition):
            conversation.run(settings=chosen)
        if any("{reference}" in label and status < 300 for label, status in told):
            return
    raise AssertionError("chance never came through to what lies behind an id")


def test_keep_their_promises(house, weights):
    client = house.client(Scope.ADMIN)
    house.finish(house.study(client))
    told, key = [], {"Authorization": client.headers["Authorization"]}
    with Live(build_app(house.service)) as live:
        description = schemathesis.openapi.from_url(f"{live.url}/openapi.json")
        # what is wrong in itself leads no further; test_conformance tries it
        description.config.generation.update(modes=[schemathesis.GenerationMode.POSITIVE])

        class Conversation(description.as_state_machine()):
            def before_call(self, case):
                # waiting is no promise about shapes; and what a manifest's names stand for no schema says
                case.headers = {name: value for name, value in case.headers.items() if name.lower() != "prefer"} | key
                if case.operation.label in CREATING:
                    case.headers["Content-Type"], case.media_type, case.body = "application/json", "application/json", EXAMPLE

                if case.operation.label == "POST /v1/uploads":
                    case.body["size"] %= 1000  # that a disk is full is true of the disk

            def get_call_kwargs(self, case):
                return {"headers": key}

            def after_call(self, response, case):
                super().after_call(response, case)
                if case.operation.label in CREATING and response.status_code == 202:
                    study = house.store.study(response.json()["id"])
                    if study.status is StudyStatus.SUBMITTED:  # a repeated call is answered alike, whatever became of its study
                        house.finish(study)

            def validate_response(self, response, case, **options):
                told.append((case.operation.label, response.status_code))
                case.validate_response(
                    response, excluded_checks=[positive_data_acceptance], transport_kwargs=options, recorder=self.recorder
                )

        converse(Conversation, told)
