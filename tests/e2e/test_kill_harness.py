"""A few disturbances in every run of the tests; MERGEFRONT_TEST_DISTURBANCES asks for more."""

import os

from tests.e2e.kill_harness import run

DISTURBANCES = int(os.environ.get("MERGEFRONT_TEST_DISTURBANCES", "5"))


def test_nobody_can_tell_a_disturbed_service(tmp_path):
    assert run(DISTURBANCES, 0, tmp_path) == []
