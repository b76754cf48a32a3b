"""The compose file and the Dockerfile say what the product understands."""

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from app.cli.main import app
from app.config import Settings

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if "MERGEFRONT_BROKER" in service.get("environment", {})}


def test_every_part_of_the_service_is_there():
    assert set(OURS) == {"migrate", "api", "worker", "worker-gpu", "sweeper"}
    assert {"redis", "postgres", "store"} <= set(COMPOSE["services"])


@pytest.mark.parametrize("name", OURS)
def test_environment_names_settings(name):
    ours = {key.removeprefix("MERGEFRONT_").lower() for key in OURS[name]["environment"] if key.startswith("MERGEFRONT_")}
    assert ours <= set(Settings.model_fields)


@pytest.mark.parametrize("name", OURS)
def test_commands_are_commands_of_ours_with_their_options(name):
    program, *words = OURS[name]["command"]
    assert program == "mergefront"
    options = [word for word in words if word.startswith("--")]
    commands = [word for word in words if re.fullmatch(r"[a-z]+", word)]
    shown = CliRunner().invoke(app, [*commands, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert all(option in shown.output for option in options)


def test_what_waits_waits_for_what_can_be_healthy():
    for service in COMPOSE["services"].values():
        for name, needed in service.get("depends_on", {}).items():
            if needed["condition"] == "service_healthy":
                assert "healthcheck" in COMPOSE["services"][name]


def test_targets_exist_and_run_without_root():
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    targets = {stage.split("\n", 1)[0].rpartition(" AS ")[2]: stage for stage in stages}
    for service in OURS.values():
        stage = targets[service["build"]["target"]]
        assert stage.index("USER mergefront") < stage.index("CMD")
