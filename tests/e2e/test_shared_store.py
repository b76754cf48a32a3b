"""Two workers on directories of their own, which share nothing but database, broker and S3, finish one study together."""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from hashlib import sha256

import pytest
import yaml

from app.store.engine import sqlite_url
from app.store.sql import open_store
from tests.e2e.api_process import ApiProcess
from tests.e2e.serving import MARK, PATIENCE, eventually
from workers.broker import await_broker, broker_command, broker_url

WORKERS = ("one", "two")


@pytest.fixture
def parts():
    """Ends what was started with it."""
    with ExitStack() as ends:

        def start(command, **environment):
            process = subprocess.Popen(command, env=os.environ | environment, start_new_session=True)
            ends.callback(process.wait)
            ends.callback(lambda: process.poll() is None and os.killpg(process.pid, signal.SIGKILL))
            return process

        yield start


@pytest.fixture
def settings(tmp_path, s3, parts, model_set):
    """What API, sweeper and workers have in common. The broker runs."""
    broker = parts(broker_command(tmp_path / "broker"))
    await_broker(tmp_path / "broker", lambda: broker.poll() is None)
    return {
        "MERGEFRONT_DATABASE": sqlite_url(tmp_path / "records.sqlite"), "MERGEFRONT_BROKER": broker_url(tmp_path / "broker"),
        "MERGEFRONT_BLOBS": "s3://shared/mergefront", "MERGEFRONT_S3_ENDPOINT": s3, "OMP_NUM_THREADS": "1", MARK: "slow",
        "MERGEFRONT_FACTORIES": f"{model_set.parent}/net.py:Net", "MERGEFRONT_SWEEP_SECONDS": "1", "MERGEFRONT_CACHE_BYTES": "100000",
    }  # fmt: skip


@pytest.fixture
def api(tmp_path, settings):
    started = ApiProcess(tmp_path / "api", broker=settings["MERGEFRONT_BROKER"], **settings)
    yield started
    started.kill()


def register(api, kind, path):
    content = path.read_bytes()
    digest = sha256(content).hexdigest()
    assert api.ask("PUT", f"/v1/blobs/{digest}", content).status == 201
    answer = api.ask("POST", f"/v1/{kind}", {"files": {path.name: digest}})
    assert answer.status == 201, answer.body
    return json.loads(answer.body)["id"]


def registered(api, model_set):
    """The manifest, with ids for all files but the factory's."""
    folder, manifest = model_set.parent, yaml.safe_load(model_set.read_text())
    data = {name: register(api, "datasets", folder / f"{name}-data.safetensors") for name in manifest["tasks"]}
    tasks = {name: task | {"data": data[name]} for name, task in manifest["tasks"].items()}
    tuned = {name: register(api, "checkpoints", folder / f"{name}.safetensors") for name in manifest["models"]["tuned"]}
    models = {"base": register(api, "checkpoints", folder / "base.safetensors"), "tuned": tuned}
    return manifest | {"models": models, "tasks": tasks, "front": {"points": 10, "verify": 1}}


def test_two_workers_finish_a_study(api, settings, parts, model_set, tmp_path):
    study = json.loads(api.ask("POST", "/v1/studies", registered(api, model_set)).body)
    for name in WORKERS:
        data = str(tmp_path / name)
        parts([sys.executable, "-m", "app.cli", "worker", "--name", name, "--data", data], **settings)
    parts([sys.executable, "-m", "app.cli", "sweeper", "--data", str(tmp_path / "sweeper")], **settings)
    store = open_store(settings["MERGEFRONT_DATABASE"])
    eventually(lambda: store.study(study["id"]).status not in ("submitted", "running"), "the study ends", 2 * PATIENCE)
    assert store.study(study["id"]).failure is None
    store.close()
    front = api.ask("GET", f"/v1/studies/{study['id']}/front")
    assert (front.status, len(json.loads(front.body)["points"]) > 1) == (200, True)
    # each read the models through a cache of its own, and nothing was kept anywhere else
    for name in WORKERS:
        assert len([path for path in (tmp_path / name / "cache").rglob("*") if len(path.name) == 64]) >= 5
        assert not (tmp_path / name / "blobs").exists()
