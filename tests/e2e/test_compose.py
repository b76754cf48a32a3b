"""The compose file, as the program reads it that will run it. Needs no Docker engine (see conftest)."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.e2e.compose import program

FILE = Path(__file__).parents[2] / "docker-compose.yml"
COMPOSE = yaml.safe_load(FILE.read_text())["services"]
PROFILES = ("gpu", "s3")


@pytest.fixture
def config(tmp_path):
    """What `docker compose config` says of the file; its variables are those given, and no .env beside it adds others."""
    shutil.copy(FILE, tmp_path)

    def read(*profiles, **environment):
        bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        words = [word for profile in profiles for word in ("--profile", profile)]
        command = [*program(), *words, "config"]
        return subprocess.run(command, cwd=tmp_path, env=bare | environment, capture_output=True, text=True, check=False)

    return read


@pytest.fixture
def services(config):
    def read(*profiles, **environment):
        found = config(*profiles, **environment)
        assert (found.returncode, found.stderr) == (0, "")  # it warns of what it only half understands
        return yaml.safe_load(found.stdout)["services"]

    return read


def test_every_service_is_read_with_all_profiles(services):
    read = services(*PROFILES, POSTGRES_PASSWORD="x")
    assert read.keys() == COMPOSE.keys()
    commands = {name: service["command"] for name, service in COMPOSE.items() if "command" in service}
    assert {name: service["command"] for name, service in read.items() if service.get("command")} == commands


def test_services_keep_to_their_profiles(services):
    read = services(*PROFILES, POSTGRES_PASSWORD="x")
    profiles = {name: service["profiles"] for name, service in read.items() if service.get("profiles")}
    assert profiles == {"worker-gpu": ["gpu"], "store": ["s3"]}


def test_variables_reach_every_part_of_the_service(services):
    read = services(*PROFILES, POSTGRES_PASSWORD="secret", MERGEFRONT_BLOBS="s3://mergefront", MERGEFRONT_S3_ENDPOINT="http://store:8333")
    assert read["postgres"]["environment"]["POSTGRES_PASSWORD"] == "secret"
    for name in ("migrate", "api", "worker", "worker-gpu", "sweeper"):
        environment = read[name]["environment"]
        assert environment["MERGEFRONT_DATABASE"] == "postgresql://mergefront:secret@postgres/mergefront"
        assert (environment["MERGEFRONT_BLOBS"], environment["MERGEFRONT_S3_ENDPOINT"]) == ("s3://mergefront", "http://store:8333")


def test_without_a_password_nothing_starts(config):
    refused = config()
    assert refused.returncode != 0
    assert "POSTGRES_PASSWORD" in refused.stderr
