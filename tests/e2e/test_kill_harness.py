"""A few disturbances in every run of the tests; MERGEFRONT_TEST_DISTURBANCES asks for more. With PostgreSQL installed, half are its."""

import math
import os
from contextlib import nullcontext

import pytest

from tests.e2e.kill_harness import run
from tests.e2e.postgres import made_cluster, programs

DATABASES = {"sqlite": nullcontext} | ({"postgresql": made_cluster} if programs() else {})
DISTURBANCES = math.ceil(int(os.environ.get("MERGEFRONT_TEST_DISTURBANCES", "5")) / len(DATABASES))


@pytest.mark.parametrize("database", DATABASES)
def test_nobody_can_tell_a_disturbed_service(tmp_path, database):
    with DATABASES[database]() as cluster:
        assert run(DISTURBANCES, 0, tmp_path, cluster) == []
