"""Adapters of transformers: texts, images, heads inside the checkpoint, language models, and layers that lie the other way."""

import json
import math

import pytest
import torch
import transformers

from app.domain.errors import RefusedError
from app.domain.finetune import AdapterSpec, FinetuneSpec, TrainingSpec
from app.domain.study import ModelSetSpec, StudySpec, TransformersArchitecture
from app.domain.task import SplitShares, TaskSpec
from app.domain.trial import Proposal
from checkpoints.linearised import read_linearised
from tests.workers.evaluators.conftest import CORPUS, tiny_config, write_tokenizer
from workers.evaluators.build import build_evaluator
from workers.finetuning.content import read_content
from workers.finetuning.finetune import finetune
from workers.finetuning.train import train
from workers.finetuning.trainee import adapt


@pytest.fixture
def texts(tmp_path):
    """Forty texts, labelled by whether they speak of rain."""
    lines = [CORPUS[number % len(CORPUS)] + " rain rain" * (number % 2) for number in range(40)]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text, "label": number % 2}) + "\n" for number, text in enumerate(lines)))
    return str(path)


@pytest.fixture
def base(tmp_path):
    """base(auto_class, kind): a tiny random model as a directory."""

    def write(auto_class, kind="bert"):
        directory = tmp_path / "base"
        vocabulary = write_tokenizer(directory)
        shape = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32, "pad_token_id": 0}
        config = transformers.GPT2Config(vocab_size=vocabulary, **shape) if kind == "gpt2" else tiny_config(kind, vocabulary)
        torch.manual_seed(0)
        getattr(transformers, auto_class).from_config(config).save_pretrained(directory)
        return directory

    return write


def spec_of(base, auto_class, data, kind, metric="accuracy", targets=(), head=True, **training):
    return FinetuneSpec(
        str(base),
        TransformersArchitecture(auto_class),
        TaskSpec("task", data, metric, SplitShares(0.8, 0.2)),
        AdapterSpec(kind, rank=3, targets=targets),
        TrainingSpec(**{"epochs": 4, "learning_rate": 3e-2, "batch": 8, "patience": 9, "head": head, **training}),
    )


@pytest.mark.parametrize("kind", ["lora", "llora", "tangent"])
class TestClassifiers:
    def test_a_head_inside_the_checkpoint_goes_with_the_adapter(self, kind, base, texts, tmp_path):
        where = base("AutoModelForSequenceClassification")
        finetune(spec_of(where, "AutoModelForSequenceClassification", texts, kind), tmp_path / "out", "cpu")
        adapter = read_linearised(tmp_path / "out")
        assert set(adapter.private) == {"classifier.weight", "classifier.bias"}
        assert len(adapter.a) == 13 and all(layer.startswith("bert.") for layer in adapter.a)  # of two blocks and the pooler

    def test_features_with_a_fresh_head(self, kind, base, texts, tmp_path):
        spec = spec_of(base("AutoModel"), "AutoModel", texts, kind, targets=("query", "value"), epochs=12)
        trained = finetune(spec, tmp_path / "out", "cpu")
        assert trained.scores["held_out"] == 1.0
        assert sorted(path.name for path in (tmp_path / "out").glob("*.safetensors")) == ["adapter_model.safetensors", "head.safetensors"]


class TestStudies:
    def test_a_set_of_them_is_evaluated_with_their_own_heads(self, base, texts, tmp_path):
        auto_class = "AutoModelForSequenceClassification"
        where = base(auto_class)
        scores = {}
        for task, seed in (("first", 0), ("second", 1)):
            scores[task] = finetune(spec_of(where, auto_class, texts, "llora", seed=seed), tmp_path / task, "cpu").scores["report"]
        tasks = tuple(TaskSpec(task, texts, "accuracy", SplitShares(0.8, 0.2)) for task in scores)
        models = ModelSetSpec(str(where), {task: str(tmp_path / task) for task in scores})
        evaluator = build_evaluator(StudySpec("tiny", models, TransformersArchitecture(auto_class), tasks), "cpu")
        measured = evaluator.evaluate(Proposal("baseline", "report", (1.0, 0.0))).scores["first"]
        assert measured == pytest.approx(scores["first"])


class TestLanguageModels:
    @pytest.mark.parametrize(("model", "kind"), [("llama", "llora"), ("llama", "tangent"), ("gpt2", "lora"), ("gpt2", "tangent")])
    def test_the_loss_falls(self, model, kind, base, texts, tmp_path):
        spec = spec_of(base("AutoModelForCausalLM", model), "AutoModelForCausalLM", texts, kind, "nll", head=False)
        trained = train(adapt(read_content(spec, "cpu")), tmp_path, "digest", lambda advance: None)
        assert trained.scores["held_out"] < math.log(29) - 0.03  # of a model that knows nothing
        assert trained.scores["held_out"] == min(trained.epochs)

    @pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing")  # PEFT's use of transformers
    def test_peft_loads_layers_that_lie_the_other_way(self, base, texts, tmp_path):
        import peft

        where = base("AutoModelForCausalLM", "gpt2")
        finetune(spec_of(where, "AutoModelForCausalLM", texts, "llora", "nll", head=False), tmp_path / "out", "cpu")
        module = transformers.AutoModelForCausalLM.from_pretrained(where)
        plain = module(torch.tensor([[4, 5, 6]])).logits
        adapted = peft.PeftModel.from_pretrained(module, tmp_path / "out").eval()(torch.tensor([[4, 5, 6]])).logits
        assert not torch.allclose(plain, adapted, atol=1e-3)


def test_images(base, tmp_path):
    from safetensors.torch import save_file

    pixels = torch.randn(40, 1, 8, 8)
    save_file({"pixel_values": pixels, "targets": (pixels.mean((1, 2, 3)) > 0).long()}, tmp_path / "data.safetensors")
    auto_class = "AutoModelForImageClassification"
    spec = spec_of(base(auto_class, "vit"), auto_class, str(tmp_path / "data.safetensors"), "tangent")
    finetune(spec, tmp_path / "out", "cpu")
    assert read_linearised(tmp_path / "out").metadata.kind == "tangent"


class TestRefusals:
    def test_features_without_a_head(self, base, texts, tmp_path):
        with pytest.raises(RefusedError, match="task.head: AutoModel gives features"):
            finetune(spec_of(base("AutoModel"), "AutoModel", texts, "llora", head=False), tmp_path / "out", "cpu")

    def test_a_language_model_has_no_head(self, base, texts, tmp_path):
        with pytest.raises(RefusedError, match="leave the head out"):
            finetune(spec_of(base("AutoModelForCausalLM", "llama"), "AutoModelForCausalLM", texts, "llora", "nll"), tmp_path / "out", "cpu")

    def test_a_metric_that_losses_do_not_give(self, base, texts, tmp_path):
        spec = spec_of(base("AutoModelForCausalLM", "llama"), "AutoModelForCausalLM", texts, "llora", head=False)
        with pytest.raises(RefusedError, match="nll and perplexity"):
            finetune(spec, tmp_path / "out", "cpu")
