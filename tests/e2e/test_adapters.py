"""Adapters of every kind from their training to the weights of their merges: as jobs over HTTP, and by command line."""

import importlib.util
import time
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
import torch
import yaml
from safetensors.torch import load_file

from app.datasets.split import split_rows
from app.domain.task import SplitShares
from tests.command_line import mergefront
from tests.digits_set import write_digits_set
from tests.e2e.serving import PATIENCE, eventually
from workers.adapters.tangent import TangentModel, load_tangent

TASKS = ("upright", "inverted", "turned")
SPLIT = {"search": 0.5, "report": 0.5, "seed": 0}
NET = """\
import ctypes
from pathlib import Path

from torch import nn

MOOD = Path("{folder}/mood")


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(64, 24), nn.Tanh())

    def forward(self, images):
        if MOOD.exists():
            ctypes.PyDLL(None).usleep(120_000_000)  # one long call that never lets go of the interpreter
        return super().forward(images)
"""
CANCEL_SECONDS = 5.0
METHODS = {"tangent": {"name": "exact"}, "llora": {"name": "map", "budget": 10}, "lora": {"name": "map", "budget": 10}}


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """A folder with base, heads and data of three tasks; while a file `mood` lies in it, the network stands still."""
    folder = write_digits_set(tmp_path_factory.mktemp("digits"), **{task: task for task in TASKS}).parent
    (folder / "net.py").write_text(NET.format(folder=folder))
    return folder


@pytest.fixture(scope="module")
def service(serving, digits):
    return serving(MERGEFRONT_FACTORIES=f"{digits}/net.py:Net")


@pytest.fixture(scope="module")
def client(service):
    with httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=PATIENCE) as opened:
        yield opened


def register(client, kind, path):
    content = path.read_bytes()
    digest = sha256(content).hexdigest()
    client.put(f"/v1/blobs/{digest}", content=content).raise_for_status()
    answer = client.post(f"/v1/{kind}", json={"files": {path.name: digest}})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


@pytest.fixture(scope="module")
def registered(client, digits):
    """The ids of the base, and of every task's data and head."""
    heads = register(client, "datasets", digits / "heads.safetensors")
    data = {task: register(client, "datasets", digits / f"{task}-data.safetensors") for task in TASKS}
    tasks = {task: {"data": data[task], "head": f"{heads}#{task}", "metric": "accuracy", "split": SPLIT} for task in TASKS}
    return {"base": register(client, "checkpoints", digits / "base.safetensors"), "tasks": tasks}


def told(client, href):
    """The kinds of all events until the stream ends."""
    with client.stream("GET", f"{href}/events") as stream:
        return [line.removeprefix("event: ") for line in stream.iter_lines() if line.startswith("event: ")]


def carried_out(client, place, body):
    """What was asked for once it has ended well, and the events that were told of it."""
    answer = client.post(place, json=body)
    assert answer.status_code == 202, answer.text
    href = answer.headers["location"]
    events = told(client, href)
    ended = client.get(href).json()
    assert ended["status"] == "finished", ended
    return ended, events


def finetuning(digits, registered, kind, task, epochs=5):
    return {
        "base": registered["base"], "architecture": {"factory": f"{digits}/net.py:Net"}, "task": registered["tasks"][task],
        "adapter": {"kind": kind, "rank": 6, "alpha": 12},
        "training": {"epochs": epochs, "patience": epochs, "learning_rate": 0.03, "batch": 16},
    }  # fmt: skip


def trained(client, digits, registered, kind, task):
    ended, events = carried_out(client, "/v1/finetunes", finetuning(digits, registered, kind, task))
    assert events == ["finetune.submitted", "finetune.running", *["finetune.epoch"] * 5, "finetune.finished"]
    assert client.get(f"/v1/checkpoints/{ended['checkpoint']}").json()["kind"] == ("tangent" if kind == "tangent" else "lora")
    return ended["checkpoint"]


@pytest.fixture(scope="module", params=["tangent", "llora", "lora"])
def study(request, client, digits, registered):
    """A finished study of three adapters of one kind that the service trained: the kind, and what the service says of the study."""
    tuned = {task: trained(client, digits, registered, request.param, task) for task in TASKS}
    body = {
        "name": request.param, "models": {"base": registered["base"], "tuned": tuned}, "tasks": registered["tasks"],
        "architecture": {"factory": f"{digits}/net.py:Net"}, "method": METHODS[request.param], "front": {"points": 12, "verify": 2},
        "baselines": ["average"],
    }  # fmt: skip
    ended, _ = carried_out(client, "/v1/studies", body)
    return request.param, ended


def download(client, merge, directory):
    files = client.get(f"/v1/merges/{merge}/files", params={"digest": "sha256"}).json()["items"]
    for file in files:
        content = client.get(file["href"]).content
        assert sha256(content).hexdigest() == file["sha256"]
        (directory / file["name"]).write_bytes(content)
    return {file["name"] for file in files}


def loaded(digits, kind, directory):
    """The network with the adapter in it, as a user would load it."""
    spec = importlib.util.spec_from_file_location("net", digits / "net.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.Net()
    network.load_state_dict(load_file(digits / "base.safetensors"))
    if kind == "tangent":
        return load_tangent(network.eval(), directory)
    import peft

    return peft.PeftModel.from_pretrained(network, directory).eval()


def scores_of(digits, model, split):
    """Accuracy of every task on one of its splits."""
    heads, scores = load_file(digits / "heads.safetensors"), {}
    for task in TASKS:
        data = load_file(digits / f"{task}-data.safetensors")
        rows = split_rows(len(data["targets"]), SplitShares(**SPLIT)).rows(split)
        with torch.no_grad():
            outputs = torch.nn.functional.linear(model(data["inputs"][rows]), heads[f"{task}.weight"], heads[f"{task}.bias"])
        scores[task] = float((outputs.argmax(1) == data["targets"][rows]).double().mean())
    return scores


def test_a_chosen_merge_scores_what_was_said(client, digits, study, tmp_path):
    kind, ended = study
    wish = {"weights": {"upright": 2, "inverted": 1, "turned": 1}}
    chosen = client.post(f"/v1/studies/{ended['id']}/choose", json=wish).json()
    merge = client.post(f"/v1/studies/{ended['id']}/merges", json=wish).json()
    assert merge["coefficients"] == chosen["coefficients"]
    assert {"adapter_config.json", "adapter_model.safetensors"} <= download(client, merge["id"], tmp_path)
    scores = scores_of(digits, loaded(digits, kind, tmp_path), "search")
    predicted = {task: score["score"] for task, score in chosen["predicted"].items()}
    # of tangent adapters every merge is known, of others an estimate
    assert scores == pytest.approx(predicted, abs=1e-12 if kind == "tangent" else 0.2)


def test_points_of_the_front_score_what_was_measured(client, digits, study, tmp_path):
    kind, ended = study
    front = client.get(f"/v1/studies/{ended['id']}/front").json()
    verified = [(number, point) for number, point in enumerate(front["points"]) if point["search"]]
    assert len(verified) >= 2
    for number, point in verified[:2]:
        if kind == "tangent":
            assert point["search"] == pytest.approx({task: score["score"] for task, score in point["predicted"].items()}, abs=1e-12)
        merge = client.post(f"/v1/studies/{ended['id']}/merges", json={"point": number}).json()
        directory = tmp_path / str(number)
        directory.mkdir()
        download(client, merge["id"], directory)
        model = loaded(digits, kind, directory)
        assert {split: scores_of(digits, model, split) for split in ("search", "report")} == {
            split: pytest.approx(point[split], abs=1e-12) for split in ("search", "report")
        }


def submitted(client, digits, folder, seeds):
    """How `mergefront submit --wait` ended with a study of two tangent adapters that `mergefront finetune` trained here."""
    names = dict(zip(TASKS, seeds, strict=False))
    for task, seed in names.items():
        ended = mergefront(
            "finetune", "--base", digits / "base.safetensors", "--factory", f"{digits}/net.py:Net",
            "--data", digits / f"{task}-data.safetensors", "--head", f"{digits}/heads.safetensors#{task}",
            "--adapter", "tangent", "--rank", 4, "--epochs", 2, "--start-seed", seed, "--out", folder / task,
        )  # fmt: skip
        assert ended.code == 0, ended.err
    tasks = {
        task: {"data": str(digits / f"{task}-data.safetensors"), "head": f"{digits}/heads.safetensors#{task}", "metric": "accuracy"}
        for task in names
    }
    models = {"base": str(digits / "base.safetensors"), "tuned": {task: str(folder / task) for task in names}}
    architecture, manifest = {"factory": f"{digits}/net.py:Net"}, folder / "study.yaml"
    study = {"name": "sent", "models": models, "architecture": architecture, "tasks": tasks, "method": {"name": "exact"}}
    manifest.write_text(yaml.safe_dump(study))
    return mergefront("submit", manifest, "--server", str(client.base_url), "--wait")


def test_adapters_trained_by_command_line_are_sent(client, digits, tmp_path):
    ended = submitted(client, digits, tmp_path, (0, 0))
    assert ended.code == 0, ended.err
    study = ended.out.strip()
    assert client.get(f"/v1/studies/{study}/front").json()["points"]
    merge = client.post(f"/v1/studies/{study}/merges", json={"coefficients": [0.5, 0.25]}).json()
    directory = tmp_path / "merged"
    directory.mkdir()
    download(client, merge["id"], directory)
    assert isinstance(loaded(digits, "tangent", directory), TangentModel)


def test_adapters_of_different_starts_fail_the_study_with_the_reason(client, digits, tmp_path):
    ended = submitted(client, digits, tmp_path, (0, 1))
    assert ended.code == 1 and "started from different A0" in ended.err


def test_a_training_is_cancelled_within_seconds_of_whatever_it_does(service, client, digits, registered):
    body = finetuning(digits, registered, "tangent", "turned", epochs=1000)
    href = client.post("/v1/finetunes", json=body).headers["location"]
    eventually(lambda: client.get(href).json()["step"] > 0, "it trains")
    mood = digits / "mood"
    mood.touch()
    try:
        [child] = service.pids("child")
        time.sleep(2.0)
        assert client.post(f"{href}/cancel").status_code == 202
        eventually(lambda: child not in service.pids("child"), "the training stops", CANCEL_SECONDS)
    finally:
        mood.unlink()
    assert client.get(href).json()["status"] == "cancelled"
    # the next one clears away what it could not
    trained(client, digits, registered, "llora", "turned")
    assert list((service.data / "finetunes").iterdir()) == []
