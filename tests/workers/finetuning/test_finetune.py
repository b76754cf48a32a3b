"""Adapters from their spec to their files, of every kind."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from app.domain.errors import ConflictError, MeasurementError, RefusedError
from app.domain.finetune import AdapterSpec
from app.domain.study import FactoryArchitecture
from checkpoints.errors import MisfitError
from checkpoints.layout import open_layout
from checkpoints.linearised import read_linearised
from checkpoints.model_set import fit_model_set
from workers.adapters.tangent import load_tangent
from workers.finetuning.content import read_content
from workers.finetuning.finetune import finetune
from workers.finetuning.saved_state import FILE
from workers.finetuning.train import rate_at, train
from workers.finetuning.trainee import adapt

KILLED = """\
import os, signal, sys
from pathlib import Path
from app.domain.finetune import AdapterSpec, FinetuneSpec, TrainingSpec
from app.domain.study import FactoryArchitecture
from app.domain.task import SplitShares, TaskSpec
from workers.finetuning.finetune import finetune

finetune({spec!r}, Path(sys.argv[1]), "cpu", lambda advance: advance.step == 9 and os.kill(os.getpid(), signal.SIGKILL))
"""
KINDS = ("lora", "llora", "tangent")


class Cut(Exception):
    """What a test stops a training with."""


def cut_at(step):
    def tell(advance):
        if advance.step == step:
            raise Cut

    return tell


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def base_score(content):
    """Accuracy of the untouched base on the report examples."""
    images = torch.from_numpy(content.dataset.inputs.columns["inputs"][content.parts.report])
    with torch.no_grad():
        outputs = content.read_out.head.apply(content.network.run({"inputs": images}))
    return float((outputs.argmax(1) == content.targets(content.parts.report)).double().mean())


class TestFiles:
    def test_it_learns_and_says_so(self, kind, spec_of, tmp_path):
        spec = replace(spec_of(kind, "turned", epochs=12, learning_rate=0.03), adapter=AdapterSpec(kind, rank=24, alpha=24.0))
        trained = finetune(spec, tmp_path, "cpu")
        assert trained.scores["report"] > base_score(read_content(spec, "cpu")) + 0.12
        adapter = read_linearised(tmp_path)
        assert (adapter.metadata.kind, dict(adapter.metadata.scores)) == (kind, dict(trained.scores))
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "adapter_config.json", "adapter_model.safetensors"]

    def test_a_stays_at_the_start_but_for_ordinary_lora(self, kind, spec_of, tmp_path):
        start = {layer: a.clone() for layer, a in adapt(read_content(spec_of(kind), "cpu")).a.items()}
        finetune(spec_of(kind), tmp_path, "cpu")
        same = [torch.equal(a, start[layer]) for layer, a in read_linearised(tmp_path).a.items()]
        assert all(same) if kind != "lora" else not any(same)

    @pytest.mark.parametrize("kind", ["lora", "llora"])
    def test_peft_itself_loads_it(self, kind, spec_of, tmp_path):
        import peft

        spec = spec_of(kind)
        finetune(spec, tmp_path, "cpu")
        content = read_content(spec, "cpu")
        model = peft.PeftModel.from_pretrained(content.network.module, tmp_path).eval()
        places = torch.arange(len(content.parts.report))
        images = torch.from_numpy(content.dataset.inputs.columns["inputs"][content.parts.report])
        with torch.no_grad():
            outputs = content.read_out.head.apply(model(images))
        right = (outputs.argmax(1) == content.targets(content.parts.report)[places]).double().mean()
        assert float(right) == pytest.approx(read_linearised(tmp_path).metadata.scores["report"])

    def test_peft_refuses_a_tangent_adapter(self, spec_of, tmp_path):
        import peft

        finetune(spec_of("tangent", epochs=1), tmp_path, "cpu")
        with pytest.raises(Exception, match="MERGEFRONT_TANGENT"):
            peft.PeftModel.from_pretrained(read_content(spec_of(), "cpu").network.module, tmp_path)

    def test_a_tangent_adapter_becomes_a_module(self, spec_of, tmp_path):
        trained = finetune(spec_of("tangent"), tmp_path, "cpu")
        content = read_content(spec_of(), "cpu")
        model = load_tangent(content.network.module, tmp_path)
        with torch.no_grad():
            features = model(torch.from_numpy(content.dataset.inputs.columns["inputs"][content.parts.report]))
        right = content.read_out.head.apply(features).argmax(1) == content.targets(content.parts.report)
        assert float(right.double().mean()) == pytest.approx(trained.scores["report"])

    def test_a_layer_that_is_not_read_stays_at_the_start(self, kind, spec_of, digits, tmp_path):
        """Also in a training that was cut."""
        net, base = tmp_path / "net.py", tmp_path / "base.safetensors"
        known = (digits / "net.py").read_text()
        net.write_text(known.replace("        self.lin", "        self.unread = nn.Linear(3, 2)\n        self.lin"))
        save_file(load_file(digits / base.name) | {"unread.weight": torch.ones(2, 3), "unread.bias": torch.ones(2)}, base)
        spec = replace(spec_of(kind), base=str(base), architecture=FactoryArchitecture(str(net), "Net"))
        with pytest.raises(Cut):
            finetune(spec, tmp_path / "out", "cpu", cut_at(4))
        finetune(spec, tmp_path / "out", "cpu")
        b = read_linearised(tmp_path / "out").b
        assert torch.count_nonzero(b["unread"]) == 0 and torch.count_nonzero(b["lin"]) > 0

    def test_a_finished_directory_is_kept(self, spec_of, tmp_path):
        finetune(spec_of(epochs=1), tmp_path, "cpu")
        with pytest.raises(ConflictError, match="finished adapter"):
            finetune(spec_of(epochs=1), tmp_path, "cpu")


class TestStart:
    def test_lora_leaves_it_with_a_gradient_of_exactly_zero_for_a(self, spec_of):
        trainee = adapt(read_content(spec_of("lora"), "cpu"))
        trainee.outputs({"inputs": torch.rand(6, 1, 8, 8)}).square().sum().backward()
        assert all(torch.count_nonzero(a.grad) == 0 for a in trainee.a.values())
        assert all(torch.count_nonzero(b.grad) > 0 for b in trainee.b.values())

    def test_all_kinds_and_tasks_share_it(self, spec_of):
        starts = [adapt(read_content(spec_of(kind, task), "cpu")).a for kind in KINDS for task in ("upright", "turned")]
        assert all(torch.equal(starts[0][layer], other[layer]) for other in starts[1:] for layer in starts[0])

    def test_outputs_are_the_bases(self, kind, spec_of):
        content, images = read_content(spec_of(kind), "cpu"), torch.rand(6, 1, 8, 8)
        with torch.no_grad():
            before = content.read_out.head.apply(content.network.run({"inputs": images}))
            torch.testing.assert_close(adapt(content).outputs({"inputs": images}), before)


class TestMerging:
    def test_l_lora_of_one_start_is_one_set(self, spec_of, tmp_path):
        for task in ("upright", "turned"):
            finetune(spec_of("llora", task, epochs=1), tmp_path / task, "cpu")
        models = fit_model_set(open_layout(_base(spec_of)), {task: open_layout(tmp_path / task) for task in ("upright", "turned")})
        assert models.tuned == ("upright", "turned")

    @pytest.mark.parametrize("kind", ["llora", "tangent"])
    def test_another_start_is_refused(self, kind, spec_of, tmp_path):
        for task, seed in (("upright", 0), ("turned", 1)):
            finetune(spec_of(kind, task, seed, epochs=1), tmp_path / task, "cpu")
        with pytest.raises(MisfitError, match="turned and upright started from different A0"):
            fit_model_set(open_layout(_base(spec_of)), {task: open_layout(tmp_path / task) for task in ("upright", "turned")})


def _base(spec_of):
    return Path(spec_of().base)


class TestContinued:
    @pytest.mark.parametrize("step", [1, 8, 13])
    def test_a_cut_training_ends_as_an_uncut_one(self, kind, step, spec_of, tmp_path):
        spec = spec_of(kind, head=True)
        whole = finetune(spec, tmp_path / "whole", "cpu")
        with pytest.raises(Cut):
            finetune(spec, tmp_path / "cut", "cpu", cut_at(step))
        assert finetune(spec, tmp_path / "cut", "cpu").scores == whole.scores
        for file in ("adapter_model.safetensors", "head.safetensors"):
            assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()

    def test_a_killed_one_too(self, spec_of, tmp_path):
        program = KILLED.format(spec=spec_of())
        killed = subprocess.run([sys.executable, "-c", program, str(tmp_path / "cut")], capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert (tmp_path / "cut" / FILE).exists() and not (tmp_path / "cut" / "adapter_config.json").exists()
        finetune(spec_of(), tmp_path / "cut", "cpu")
        finetune(spec_of(), tmp_path / "whole", "cpu")
        name = "adapter_model.safetensors"
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

    def test_with_other_options_it_is_refused(self, spec_of, tmp_path):
        with pytest.raises(Cut):
            finetune(spec_of(), tmp_path, "cpu", cut_at(10))
        with pytest.raises(ConflictError, match="another training"):
            finetune(spec_of(batch=16), tmp_path, "cpu")

    def test_a_state_that_is_none(self, spec_of, tmp_path):
        (tmp_path / FILE).write_text("nonsense")
        with pytest.raises(ConflictError, match="remove it"):
            finetune(spec_of(), tmp_path, "cpu")


class TestStopping:
    def test_it_stops_when_nothing_gets_better_and_keeps_the_best(self, spec_of, tmp_path):
        trained = finetune(spec_of("lora", epochs=200, learning_rate=0.05, patience=2, warmup=0.0), tmp_path, "cpu")
        assert len(trained.epochs) < 200
        assert trained.scores["held_out"] == max(trained.epochs)

    def test_a_loss_that_explodes(self, spec_of, tmp_path):
        with pytest.raises(MeasurementError, match="lower the learning rate"):
            finetune(spec_of("tangent", learning_rate=1e38), tmp_path, "cpu")

    def test_the_rate_rises_and_falls(self, spec_of):
        training = spec_of(warmup=0.2, learning_rate=1.0).training
        rates = [rate_at(step, 10, training) for step in range(10)]
        assert rates[:3] == [0.5, 1.0, 1.0]
        assert rates[2:] == sorted(rates[2:], reverse=True) and 0 < rates[-1] < 0.1


class TestHeads:
    def test_a_fresh_one_is_written_beside_the_adapter(self, spec_of, tmp_path):
        spec = spec_of(head=True)
        finetune(replace(spec, task=replace(spec.task, head=None)), tmp_path, "cpu")
        head = load_file(tmp_path / "head.safetensors")
        assert (head["weight"].shape, head["bias"].shape) == ((10, 20), (10,))

    def test_a_fixed_one_is_not(self, spec_of, tmp_path):
        finetune(spec_of(epochs=1), tmp_path, "cpu")
        assert not (tmp_path / "head.safetensors").exists()


class TestRefusals:
    def test_everything_wrong_with_the_files_at_once(self, spec_of, tmp_path):
        spec = spec_of()
        with pytest.raises(RefusedError) as caught:
            finetune(replace(spec, base="/none", task=replace(spec.task, data="/none.safetensors")), tmp_path, "cpu")
        assert [fault.where for fault in caught.value.faults] == ["base", "task.data"]

    def test_targets_that_match_nothing(self, spec_of, tmp_path):
        with pytest.raises(RefusedError, match="'convv' matches no layer; there are conv, lin"):
            finetune(replace(spec_of(), adapter=AdapterSpec("llora", targets=("convv",))), tmp_path, "cpu")

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"metric": "entropy"}, "needs no labels"),
            ({"data": "text.jsonl"}, "reads tensors, not texts"),
        ],
    )
    def test_tasks_that_cannot_train(self, change, problem, spec_of, tmp_path):
        (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": "a", "label": n % 2}) + "\n" for n in range(20)))
        if "data" in change:
            change = {"data": str(tmp_path / "text.jsonl")}
        spec = spec_of()
        with pytest.raises(RefusedError, match=problem):
            finetune(replace(spec, task=replace(spec.task, **change)), tmp_path / "out", "cpu")

    def test_a_split_too_small_to_hold_something_out(self, spec_of, tmp_path):
        spec = spec_of(held_out=0.001)
        with pytest.raises(RefusedError, match="training.held_out"):
            finetune(spec, tmp_path, "cpu")


def test_train_can_be_used_by_itself(spec_of, tmp_path):
    trainee = adapt(read_content(spec_of("tangent", epochs=1), "cpu"))
    steps = []
    trained = train(trainee, tmp_path, "digest", steps.append)
    assert [advance.step for advance in steps] == list(range(1, len(steps) + 1)) and steps[-1].step == steps[-1].steps
    assert steps[-1].score == trained.epochs[-1]
