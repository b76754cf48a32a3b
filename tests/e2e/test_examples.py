"""The CI jobs of examples/ci, as they stand, against a service of real processes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits

from tests.command_line import mergefront
from tests.e2e.models import tuned
from tests.e2e.serving import PATIENCE

JOBS = Path(__file__).parents[2] / "examples" / "ci"
EVALUATE = """\
#!{python}
import json
import sys

import numpy as np
from safetensors.numpy import load_file

weights, split = load_file(sys.argv[1]), sys.argv[2]
data = np.load("{data}")
chosen = slice(0, 120) if split == "search" else slice(120, 300)
scores = {{}}
for task in ("upright", "turned"):
    logits = data[task][chosen] @ weights["weight"].T + weights["bias"]
    scores[task] = float((logits.argmax(1) == data["targets"][chosen]).mean())
print(json.dumps(scores))
"""
TASKS = ("upright", "turned")
EXTERNAL = {"metric": {"external": {"name": "accuracy", "low": 0.0, "high": 1.0, "examples": 120}}}


@pytest.fixture(scope="module")
def service(serving):
    return serving()


@pytest.fixture(scope="module")
def key(service):
    ended = mergefront("key", "create", "--data", service.data, "--name", "ci")
    assert ended.code == 0, ended.err
    return ended.out.strip()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A directory with a linear classifier of digits, tuned on the images as they are and on the images turned, and data to measure on."""
    folder = tmp_path_factory.mktemp("models")
    digits = load_digits()
    images, targets = torch.tensor(digits.images / 16.0).float(), torch.tensor(digits.target)
    seen = {"upright": images.reshape(-1, 64), "turned": images.rot90(1, (1, 2)).reshape(-1, 64)}
    base = {"weight": torch.randn(10, 64, generator=torch.Generator().manual_seed(0)) / 20, "bias": torch.zeros(10)}
    save_file(base, folder / "base.safetensors")
    for task, inputs in seen.items():
        save_file(tuned(base, inputs[:900], targets[:900]), folder / f"{task}.safetensors")
    np.savez(folder / "data.npz", targets=digits.target[900:1200], **{task: inputs[900:1200].numpy() for task, inputs in seen.items()})
    return folder


@pytest.fixture
def job(models, tmp_path):
    """The manifest of a job, and its evaluator beside it."""
    for file in models.iterdir():
        shutil.copy(file, tmp_path)
    evaluate = tmp_path / "evaluate"
    evaluate.write_text(EVALUATE.format(python=sys.executable, data=tmp_path / "data.npz"))
    evaluate.chmod(0o755)
    manifest = {
        "name": tmp_path.name[:64],
        "models": {"base": "base.safetensors", "tuned": {task: f"{task}.safetensors" for task in TASKS}},
        "tasks": dict.fromkeys(TASKS, EXTERNAL),
        "method": {"name": "map", "surrogate": "quadratic", "budget": 9},
        "front": {"points": 10, "verify": 1},
        "baselines": [],
    }
    (tmp_path / "study.json").write_text(json.dumps(manifest))
    return tmp_path / "study.json"


def run(words, service, key, job):
    environment = os.environ | {"SERVER": f"http://127.0.0.1:{service.port}", "KEY": key, "EVALUATE": str(job.with_name("evaluate"))}
    return subprocess.run(list(map(str, words)), env=environment, capture_output=True, text=True, timeout=PATIENCE)


def commands(job, gate):
    shell = [JOBS / "search.sh", job, gate, job.with_name("out")]
    return {"shell": shell, "python": [sys.executable, JOBS / "search.py", *shell[1:], "--", job.with_name("evaluate")]}


@pytest.mark.parametrize("language", ["shell", "python"] if shutil.which("jq") and shutil.which("curl") else ["python"])
def test_a_job_keeps_the_merge_that_passes_its_gate(service, key, job, language):
    ended = run(commands(job, "upright>=0.2")[language], service, key, job)
    assert ended.returncode == 0, ended.stderr
    merged, base = load_file(job.with_name("out") / "model.safetensors"), load_file(job.with_name("base.safetensors"))
    assert merged.keys() == base.keys() and not torch.allclose(merged["weight"], base["weight"])
    refused = run(commands(job, "upright>=0.999")[language], service, key, job)
    assert refused.returncode == 1, refused.stderr
    assert "0.999" in refused.stderr
