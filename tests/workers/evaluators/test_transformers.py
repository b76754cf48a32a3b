"""Tiny transformers through every auto class, against the library's own loading."""

import json
import math
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from sklearn.metrics import accuracy_score

from app.datasets.split import split_rows
from app.domain.errors import RefusedError
from app.domain.task import SplitShares, TaskSpec
from app.domain.trial import Proposal
from workers.evaluators.build import build_evaluator


def evaluate(study, *coefficients):
    return build_evaluator(study, "cpu").evaluate(Proposal("design", "search", coefficients))


def texts_of(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def searched(path):
    rows = texts_of(path)
    return [rows[row] for row in split_rows(len(rows), SplitShares()).search]


@pytest.fixture
def encoders(write_transformer):
    base = write_transformer("base", "AutoModel")
    return base, {name: write_transformer(name, "AutoModel", seed=seed, like=base) for seed, name in enumerate(("a", "b"), 1)}


class TestAutoModel:
    @pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
    def test_features_of_a_tuned_model_through_a_linear_head(self, encoders, text_data, transformers_study, tmp_path, pooling):
        base, tuned = encoders
        save_file({"a.weight": torch.randn(3, 16), "a.bias": torch.randn(3)}, tmp_path / "heads.safetensors")
        task = TaskSpec("a", text_data("a", 3), "accuracy", SplitShares(), f"{tmp_path}/heads.safetensors#a", batch=4)
        study = transformers_study("AutoModel", base, tuned, (task,), pooling=pooling, normalize=True)
        evaluation = evaluate(study, 0.0, 1.0)
        expected = self.by_hand(tuned["b"], searched(task.data), load_file(tmp_path / "heads.safetensors"), pooling)
        torch.testing.assert_close(evaluation.outputs["a"].float(), expected, atol=5e-3, rtol=5e-3)
        labels = [row["label"] for row in searched(task.data)]
        assert evaluation.scores["a"] == pytest.approx(accuracy_score(labels, expected.argmax(1)))

    @staticmethod
    def by_hand(directory, rows, heads, pooling):
        """One text at a time: no padding to go wrong."""
        model, tokenizer = transformers.AutoModel.from_pretrained(directory).eval(), transformers.AutoTokenizer.from_pretrained(directory)
        outputs = []
        for row in rows:
            with torch.inference_mode():
                hidden = model(**tokenizer(row["text"], return_tensors="pt")).last_hidden_state[0]
            pooled = {"mean": hidden.mean(0), "cls": hidden[0], "last": hidden[-1]}[pooling]
            outputs.append(heads["a.weight"] @ torch.nn.functional.normalize(pooled, dim=0) + heads["a.bias"])
        return torch.stack(outputs)

    def test_a_base_below_a_head_of_another_kind_and_without_a_pooler(
        self, encoders, write_transformer, text_data, transformers_study, tmp_path
    ):
        _, tuned = encoders
        base = write_transformer("headed", "AutoModelForMaskedLM", seed=5, like=tuned["a"])
        weights = {name: tensor for name, tensor in load_file(base / "model.safetensors").items() if "pooler" not in name}
        assert any(name.startswith("cls.") for name in weights) and all(not name.startswith("bert.pooler") for name in weights)
        save_file({"a.weight": torch.randn(3, 16)}, tmp_path / "heads.safetensors")
        task = TaskSpec("a", text_data("a", 3), "accuracy", SplitShares(), f"{tmp_path}/heads.safetensors#a")
        evaluation = evaluate(transformers_study("AutoModel", base, tuned, (task,), pooling="cls"), 0.0, 1.0)
        model, tokenizer = transformers.AutoModel.from_pretrained(tuned["b"]).eval(), transformers.AutoTokenizer.from_pretrained(base)
        with torch.inference_mode():
            hidden = model(**tokenizer(searched(task.data)[0]["text"], return_tensors="pt")).last_hidden_state[0, 0]
        expected = load_file(tmp_path / "heads.safetensors")["a.weight"] @ hidden
        torch.testing.assert_close(evaluation.outputs["a"][0].float(), expected, atol=5e-3, rtol=5e-3)

    def test_without_a_head_there_is_nothing_to_score(self, encoders, text_data, transformers_study):
        base, tuned = encoders
        task = TaskSpec("a", text_data("a", 2), "accuracy", SplitShares())
        with pytest.raises(RefusedError, match="tasks.a.head: AutoModel gives features: name a linear head"):
            build_evaluator(transformers_study("AutoModel", base, tuned, (task,)), "cpu")


class TestSequenceClassification:
    @pytest.mark.parametrize("kind", ["bert", "llama"])
    def test_every_task_has_the_head_of_its_own_checkpoint(self, write_transformer, text_data, transformers_study, kind):
        base = write_transformer("base", "AutoModel", kind)
        classes = {"two": 2, "five": 5}
        tuned = {
            name: write_transformer(name, "AutoModelForSequenceClassification", kind, count, labels=count, like=base)
            for name, count in classes.items()
        }
        tasks = tuple(TaskSpec(name, text_data(name, count), "accuracy", SplitShares(), batch=4) for name, count in classes.items())
        evaluator = build_evaluator(transformers_study("AutoModelForSequenceClassification", base, tuned, tasks), "cpu")
        for place, (name, count) in enumerate(classes.items()):
            evaluation = evaluator.evaluate(Proposal("design", "search", tuple(float(place == other) for other in range(2))))
            expected = self.by_hand(tuned[name], searched(tasks[place].data))
            assert expected.shape[1] == count
            torch.testing.assert_close(evaluation.outputs[name].float(), expected, atol=5e-3, rtol=5e-3)

    @staticmethod
    def by_hand(directory, rows):
        model = transformers.AutoModelForSequenceClassification.from_pretrained(directory).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
        with torch.inference_mode():
            return torch.stack([model(**tokenizer(row["text"], return_tensors="pt")).logits[0] for row in rows])

    def test_heads_of_the_base_do_not_merge(self, write_transformer, text_data, transformers_study):
        base = write_transformer("base", "AutoModelForSequenceClassification", labels=4)
        tuned = {
            name: write_transformer(name, "AutoModelForSequenceClassification", seed=seed, labels=2, like=base)
            for seed, name in enumerate(("a", "b"), 1)
        }
        tasks = (
            TaskSpec("a", text_data("a", 2), "accuracy", SplitShares()),
            TaskSpec("general", text_data("g", 4), "accuracy", SplitShares()),
        )
        evaluator = build_evaluator(transformers_study("AutoModelForSequenceClassification", base, tuned, tasks), "cpu")
        assert not any(name.startswith("classifier") for name in evaluator.merges.models.sizes)
        evaluation = evaluator.evaluate(Proposal("design", "search", (0.0, 0.0)))
        expected = self.by_hand(base, searched(tasks[1].data))
        torch.testing.assert_close(evaluation.outputs["general"].float(), expected, atol=5e-3, rtol=5e-3)

    def test_names_of_classes_come_from_the_heads_own_config(self, write_transformer, transformers_study, tmp_path):
        base = write_transformer("base", "AutoModel")
        tuned = {
            name: write_transformer(name, "AutoModelForSequenceClassification", seed=seed, like=base) for seed, name in enumerate("ab", 1)
        }
        config = json.loads((tuned["a"] / "config.json").read_text())
        config |= {"id2label": {"0": "wet", "1": "dry"}, "label2id": {"wet": 0, "dry": 1}}
        (tuned["a"] / "config.json").write_text(json.dumps(config))
        rows = [{"text": "rain falls", "label": "wet"}, {"text": "the moon", "label": "dry"}] * 4
        (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        task = TaskSpec("a", str(tmp_path / "data.jsonl"), "accuracy", SplitShares())
        evaluator = build_evaluator(transformers_study("AutoModelForSequenceClassification", base, tuned, (task,)), "cpu")
        assert evaluator.scorers["a"].targets["search"].tolist() == [int(row["label"] == "dry") for row in searched(task.data)]

    def test_a_checkpoint_without_a_head_is_refused(self, encoders, text_data, transformers_study):
        base, tuned = encoders
        task = TaskSpec("a", text_data("a", 2), "accuracy", SplitShares())
        with pytest.raises(RefusedError, match=r"models.tuned.a: holds no head for its task: classifier.weight, classifier.bias missing"):
            build_evaluator(transformers_study("AutoModelForSequenceClassification", base, tuned, (task,)), "cpu")

    def test_pairs_of_texts(self, write_transformer, transformers_study, tmp_path):
        base = write_transformer("base", "AutoModel")
        tuned = {
            name: write_transformer(name, "AutoModelForSequenceClassification", seed=seed, like=base) for seed, name in enumerate("ab", 1)
        }
        rows = [{"text": "the cat", "text_pair": "a dog barks", "label": number % 2} for number in range(10)]
        (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        task = TaskSpec("a", str(tmp_path / "data.jsonl"), "accuracy", SplitShares())
        evaluation = evaluate(transformers_study("AutoModelForSequenceClassification", base, tuned, (task,)), 1.0, 0.0)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(tuned["a"]).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(tuned["a"])
        with torch.inference_mode():
            expected = model(**tokenizer("the cat", "a dog barks", return_tensors="pt")).logits
        torch.testing.assert_close(evaluation.outputs["a"][:1].float(), expected, atol=5e-3, rtol=5e-3)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks transformers by a name that goes away
class TestAdapters:
    @pytest.mark.parametrize("kind", ["bert", "llama"])
    def test_low_rank_tuned_models_with_heads_of_their_own(self, write_transformer, text_data, transformers_study, tmp_path, kind):
        base = write_transformer("base", "AutoModel", kind)
        tuned = {name: self.adapt(base, tmp_path / name, seed, labels) for seed, (name, labels) in enumerate({"a": 2, "b": 3}.items(), 1)}
        tasks = tuple(TaskSpec(name, text_data(name, labels), "accuracy", SplitShares()) for name, labels in (("a", 2), ("b", 3)))
        evaluator = build_evaluator(transformers_study("AutoModelForSequenceClassification", base, tuned, tasks), "cpu")
        for place, name in enumerate("ab"):
            evaluation = evaluator.evaluate(Proposal("design", "search", tuple(float(place == other) for other in range(2))))
            expected = self.by_hand(base, tuned[name], searched(tasks[place].data), labels=2 + place)
            torch.testing.assert_close(evaluation.outputs[name].float(), expected, atol=5e-3, rtol=5e-3)

    @staticmethod
    def adapt(base, directory, seed, labels):
        torch.manual_seed(seed)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=labels)
        adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", r=2, init_lora_weights=False))
        adapted.save_pretrained(directory)
        return directory

    @staticmethod
    def by_hand(base, directory, rows, labels):
        model = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=labels)
        adapted, tokenizer = peft.PeftModel.from_pretrained(model, directory).eval(), transformers.AutoTokenizer.from_pretrained(base)
        with torch.inference_mode():
            return torch.stack([adapted(**tokenizer(row["text"], return_tensors="pt")).logits[0] for row in rows])


class TestCausalLM:
    @pytest.fixture
    def study(self, write_transformer, text_data, transformers_study):
        base = write_transformer("base", "AutoModelForCausalLM", "llama")
        tuned = {name: write_transformer(name, "AutoModelForCausalLM", "llama", seed, like=base) for seed, name in enumerate("ab", 1)}
        return transformers_study(
            "AutoModelForCausalLM", base, tuned, (TaskSpec("a", text_data("a", 0), "perplexity", SplitShares(), batch=3),)
        )

    def test_perplexity_is_that_of_all_tokens(self, study):
        evaluation = evaluate(study, 0.0, 1.0)
        model = transformers.AutoModelForCausalLM.from_pretrained(study.models.tuned["b"]).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(study.models.base)
        losses, tokens = [], []
        for row in searched(study.tasks[0].data):
            ids = tokenizer(row["text"], return_tensors="pt").input_ids
            with torch.inference_mode():
                losses.append(float(model(input_ids=ids, labels=ids).loss))
            tokens.append(ids.shape[1] - 1)
        total = sum(loss * count for loss, count in zip(losses, tokens, strict=True)) / sum(tokens)
        assert evaluation.scores["a"] == pytest.approx(math.exp(total), rel=1e-4)
        assert evaluation.outputs["a"].shape == (len(losses), 1)
        torch.testing.assert_close(evaluation.outputs["a"][:, 0].float(), torch.tensor(losses), atol=2e-3, rtol=2e-3)

    def test_tokens_as_tensors(self, study, with_task, tmp_path):
        tokenizer = transformers.AutoTokenizer.from_pretrained(study.models.base)
        encoded = tokenizer([row["text"] for row in texts_of(study.tasks[0].data)], padding=True, return_tensors="pt")
        save_file({name: encoded[name] for name in ("input_ids", "attention_mask")}, tmp_path / "tokens.safetensors")
        other = with_task(study, data=str(tmp_path / "tokens.safetensors"))
        assert evaluate(other, 0.5, 0.5).scores["a"] == pytest.approx(evaluate(study, 0.5, 0.5).scores["a"], rel=1e-4)

    def test_other_metrics_and_heads_are_refused(self, study, with_task):
        with pytest.raises(RefusedError, match="tasks.a.metric: a causal language model gives losses"):
            build_evaluator(with_task(study, metric="accuracy"), "cpu")
        with pytest.raises(RefusedError, match="tasks.a.head: a causal language model is read as it is"):
            build_evaluator(with_task(study, head="heads.safetensors#a"), "cpu")


class TestImageClassification:
    def test_pixels_through_own_heads(self, write_transformer, transformers_study, tmp_path):
        base = write_transformer("base", "AutoModel", "vit")
        tuned = {
            name: write_transformer(name, "AutoModelForImageClassification", "vit", seed, labels=3, like=base)
            for seed, name in enumerate("ab", 1)
        }
        pixels, targets = torch.randn(12, 1, 8, 8), torch.arange(12) % 3
        save_file({"inputs": pixels, "targets": targets}, tmp_path / "data.safetensors")
        task = TaskSpec("b", str(tmp_path / "data.safetensors"), "nll", SplitShares())
        study = transformers_study("AutoModelForImageClassification", base, tuned, (task,))
        evaluation = evaluate(study, 0.0, 1.0)
        rows = torch.from_numpy(split_rows(12, SplitShares()).search)
        model = transformers.AutoModelForImageClassification.from_pretrained(tuned["b"]).eval()
        with torch.inference_mode():
            expected = model(pixel_values=pixels[rows]).logits
        torch.testing.assert_close(evaluation.outputs["b"].float(), expected, atol=5e-3, rtol=5e-3)
        assert evaluation.scores["b"] == pytest.approx(float(torch.nn.functional.cross_entropy(expected, targets[rows])), rel=1e-4)

    def test_raw_bytes_and_texts_are_refused(self, write_transformer, transformers_study, text_data, tmp_path):
        base = write_transformer("base", "AutoModel", "vit")
        tuned = {
            name: write_transformer(name, "AutoModelForImageClassification", "vit", seed, like=base) for seed, name in enumerate("ab", 1)
        }
        save_file({"inputs": torch.ones(8, 1, 8, 8, dtype=torch.uint8), "targets": torch.arange(8) % 2}, tmp_path / "data.safetensors")
        tasks = (
            TaskSpec("a", str(tmp_path / "data.safetensors"), "accuracy", SplitShares()),
            TaskSpec("b", text_data("b", 2), "accuracy", SplitShares()),
        )
        with pytest.raises(RefusedError) as caught:
            build_evaluator(transformers_study("AutoModelForImageClassification", base, tuned, tasks), "cpu")
        assert "tasks.a.data: pixel_values must be floats" in str(caught.value)
        assert "tasks.b.data: the module reads pixel_values, not texts" in str(caught.value)


class TestWhatIsMissing:
    def test_no_config_and_no_tokenizer(self, encoders, text_data, transformers_study, tmp_path):
        base, tuned = encoders
        save_file({"a.weight": torch.randn(2, 16)}, tmp_path / "heads.safetensors")
        task = TaskSpec("a", text_data("a", 2), "accuracy", SplitShares(), f"{tmp_path}/heads.safetensors#a")
        study = transformers_study("AutoModel", base, tuned, (task,))
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (base / name).unlink()
        with pytest.raises(RefusedError, match="models.base: .* holds no tokenizer, which data of texts needs"):
            build_evaluator(study, "cpu")
        (base / "config.json").unlink()
        with pytest.raises(RefusedError, match="architecture.transformers: .* holds no config.json"):
            build_evaluator(study, "cpu")

    def test_another_auto_class_than_the_weights_are_for(self, encoders, text_data, transformers_study):
        base, tuned = encoders
        config = json.loads((base / "config.json").read_text())
        (base / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
        study = transformers_study(
            "AutoModelForSequenceClassification", base, tuned, (TaskSpec("a", text_data("a", 2), "accuracy", SplitShares()),)
        )
        with pytest.raises(RefusedError, match=r"architecture: the module lacks \d+ tensors that the base has: encoder.layer.1"):
            build_evaluator(study, "cpu")

    def test_an_input_that_the_module_does_not_take(self, encoders, transformers_study, tmp_path):
        base, tuned = encoders
        save_file(
            {"input_ids": torch.ones(8, 3, dtype=torch.int64), "pixels": torch.ones(8), "targets": torch.arange(8) % 2},
            tmp_path / "d.safetensors",
        )
        task = TaskSpec("a", str(tmp_path / "d.safetensors"), "accuracy", SplitShares())
        with pytest.raises(RefusedError, match="tasks.a.data: the module takes no input 'pixels'"):
            build_evaluator(replace(transformers_study("AutoModel", base, tuned, (task,))), "cpu")
