"""The hub's own clients, as they are, in processes of their own, against a real server."""

import json
import os
import subprocess
import sys

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertModel

from app.main import build_app
from tests.live import Live

CLIENT = """\
import json, sys
from pathlib import Path
import torch
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError
from transformers import AutoModel

def refused(error, call, *arguments):
    try:
        call(*arguments)
    except error:
        return True

def told(repo):
    folder = Path(snapshot_download(repo))
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(repo).eval()(input_ids=torch.tensor([[1, 2, 3]])).last_hidden_state
    return {
        "files": {path.name: path.stat().st_size for path in folder.iterdir()},
        "sha": HfApi().model_info(repo).sha,
        "folder": folder.name,
        "card": Path(hf_hub_download(repo, "README.md")).read_text(),
        "absent": refused(EntryNotFoundError, hf_hub_download, repo, "absent.txt"),
        "unknown": refused(RepositoryNotFoundError, snapshot_download, repo + "9"),
        "hidden": hidden.flatten().tolist(),
    }

print(json.dumps([told(repo) for repo in sys.argv[1:]]))
"""
CONFIG = dict(vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
SHARE = 0.5


@pytest.fixture
def base(files):
    torch.manual_seed(0)
    model = BertModel(BertConfig(**CONFIG)).eval()
    model.save_pretrained(files / "base")
    return model


def clone(base):
    model = BertModel(base.config).eval()
    model.load_state_dict(base.state_dict())
    return model


def hidden(model):
    with torch.no_grad():
        return model(input_ids=torch.tensor([[1, 2, 3]])).last_hidden_state.flatten()


def finished(house, client, name):
    """A study whose point 1 is half of each tuned model."""
    house.finish(house.study(client, name=name, models={"base": "base", "tuned": {"mnist": f"{name}-mnist", "landsat": f"{name}-landsat"}}))


def ask(house, client, tmp_path, *repositories):
    with Live(build_app(house.service)) as live:
        environment = os.environ | {
            "HF_ENDPOINT": f"{live.url}/hub", "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_TOKEN": client.headers["Authorization"].removeprefix("Bearer "), "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run([sys.executable, "-c", CLIENT, *repositories], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def write_full(base, files):
    """Two fine-tunes; the model that is half of each."""
    expected = clone(base)
    for name in ("mnist", "landsat"):
        tuned = clone(base)
        for key, parameter in tuned.named_parameters():
            step = 0.1 * torch.randn_like(parameter)
            parameter.data += step
            expected.get_parameter(key).data += SHARE * step
        tuned.save_pretrained(files / f"full-{name}")
    return expected


def write_adapters(base, files):
    """Likewise, as adapters."""
    expected = clone(base)
    for name in ("mnist", "landsat"):
        adapted = get_peft_model(clone(base), LoraConfig(r=2, lora_alpha=4, target_modules=["query", "value"]))
        for key, parameter in adapted.named_parameters():
            if "lora_B" in key:
                parameter.data += 0.3 * torch.randn_like(parameter)
        adapted.save_pretrained(files / f"adapters-{name}")
        for key, module in adapted.base_model.model.named_modules():
            if hasattr(module, "get_delta_weight"):
                expected.get_submodule(key).weight.data += SHARE * module.get_delta_weight("default")
    return expected


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing")  # peft asks for it by its old name
def test_load_what_was_merged(house, client, files, base, tmp_path):
    expected = [write_full(base, files), write_adapters(base, files)]
    for name in ("full", "adapters"):
        finished(house, client, name)
    full, adapter = found = ask(house, client, tmp_path, "full/point-1", "adapters/point-1")
    for told, model in zip(found, expected, strict=True):
        torch.testing.assert_close(torch.tensor(told["hidden"]), hidden(model))
        assert told["sha"] == told["folder"]
        assert told["absent"] and told["unknown"]
    assert full["files"].keys() == {"README.md", "config.json", "model.safetensors"}
    assert adapter["files"].keys() == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
    assert full["sha"] == client.get("/hub/api/models/full/point-1").json()["sha"]
    assert "PEFT adapter" in adapter["card"]
