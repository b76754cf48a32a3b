"""`mergefront merge` of transformers checkpoints: what it writes is read by the libraries that made the inputs."""

import json

import peft
import pytest
import torch
import transformers
import yaml
from safetensors.torch import load_file

from tests.command_line import mergefront

# peft asks transformers under a name that the latter has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")

MANIFEST = """\
name: texts
models: {base: base, tuned: {movie: movie, spam: spam}}
architecture: {transformers: AutoModel}
tasks:
  movie: {data: movie.jsonl, head: heads.safetensors#movie, metric: accuracy}
  spam: {data: spam.jsonl, head: heads.safetensors#spam, metric: accuracy}
"""
RANKS = {"movie": 2, "spam": 3}


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """A folder with the base and a manifest, yet without tuned models."""
    folder = tmp_path_factory.mktemp("texts")
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.BertConfig(vocab_size=20, max_position_embeddings=16, **shape)
    transformers.BertModel(config).save_pretrained(folder / "base")
    (folder / "study.yaml").write_text(MANIFEST)
    return folder


@pytest.fixture(scope="module")
def full(bases):
    """The manifest of two tuned models with weights of their own."""
    for seed, name in enumerate(RANKS):
        model = transformers.AutoModel.from_pretrained(bases / "base")
        shift(model.parameters(), seed)
        model.save_pretrained(bases / name)
    return bases / "study.yaml"


@pytest.fixture(scope="module")
def adapters(bases):
    """The manifest of two LoRA adapters of the same base."""
    for seed, (name, rank) in enumerate(RANKS.items()):
        model = transformers.AutoModel.from_pretrained(bases / "base")
        tuned = peft.get_peft_model(model, peft.LoraConfig(r=rank, lora_alpha=4, target_modules=["query", "dense"]))
        shift((weights for name, weights in tuned.named_parameters() if "lora_B" in name), seed)
        tuned.save_pretrained(bases / "adapters" / name)
    manifest = bases / "adapters.yaml"
    manifest.write_text(MANIFEST.replace("movie: movie, spam: spam", "movie: adapters/movie, spam: adapters/spam"))
    return manifest


def shift(parameters, seed):
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in parameters:
            weights += 0.1 * torch.randn(weights.shape, generator=draw)


def weights_of(directory):
    return transformers.AutoModel.from_pretrained(directory).state_dict()


def with_adapter(base, adapter):
    return peft.PeftModel.from_pretrained(transformers.AutoModel.from_pretrained(base), adapter).merge_and_unload().state_dict()


def combined(base, tuned, coefficients):
    return {
        name: (theta.double() + sum(c * (one[name].double() - theta.double()) for c, one in zip(coefficients, tuned, strict=True)))
        for name, theta in base.items()
    }


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, theta in expected.items():
        torch.testing.assert_close(found[name].double(), theta, rtol=1e-5, atol=1e-6)


def written(manifest, out, *options):
    ended = mergefront("merge", manifest, "--at", "0.3,0.7", "--out", out, *options)
    assert ended.code == 0, ended.err
    return out


class TestWholeModels:
    def test_transformers_reads_them_back(self, full, tmp_path):
        folder, merged = full.parent, written(full, tmp_path / "merged")
        assert (merged / "config.json").read_bytes() == (folder / "base" / "config.json").read_bytes()
        expected = combined(weights_of(folder / "base"), [weights_of(folder / name) for name in RANKS], (0.3, 0.7))
        assert_close(weights_of(merged), expected)

    def test_a_recipe_names_the_same_merge_for_mergekit(self, full, tmp_path):
        ended = mergefront("merge", full, "--at", "0.3,0.7", "--recipe", tmp_path / "recipe.yaml")
        assert ended.code == 0, ended.err
        recipe = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
        assert recipe["merge_method"] == "task_arithmetic" and recipe["parameters"]["normalize"] is False
        assert recipe["base_model"] == str(full.parent / "base")
        assert {one["model"]: one["parameters"]["weight"] for one in recipe["models"]} == {
            str(full.parent / "movie"): 0.3, str(full.parent / "spam"): 0.7
        }  # fmt: skip
        assert not (tmp_path / "merged").exists()

    def test_a_recipe_that_cannot_be_written(self, full, tmp_path):
        (tmp_path / "file").write_text("mine")
        ended = mergefront("merge", full, "--at", "0.3,0.7", "--recipe", tmp_path / "file" / "recipe.yaml")
        assert ended.code == 2 and "--recipe: " in ended.err


class TestAdapters:
    def test_they_become_one_adapter_that_peft_reads(self, adapters, tmp_path):
        folder, merged = adapters.parent, written(adapters, tmp_path / "merged")
        assert sorted(path.name for path in merged.iterdir()) == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
        assert json.loads((merged / "adapter_config.json").read_text())["r"] == sum(RANKS.values())
        tuned = [with_adapter(folder / "base", folder / "adapters" / name) for name in RANKS]
        assert_close(with_adapter(folder / "base", merged), combined(weights_of(folder / "base"), tuned, (0.3, 0.7)))

    def test_they_become_whole_weights_when_asked(self, adapters, tmp_path):
        folder, merged = adapters.parent, written(adapters, tmp_path / "merged", "--dense")
        tuned = [with_adapter(folder / "base", folder / "adapters" / name) for name in RANKS]
        assert_close(weights_of(merged), combined(weights_of(folder / "base"), tuned, (0.3, 0.7)))
        assert load_file(merged / "model.safetensors").keys() == load_file(folder / "base" / "model.safetensors").keys()

    def test_they_have_no_recipe(self, adapters, tmp_path):
        ended = mergefront("merge", adapters, "--at", "0.3,0.7", "--recipe", tmp_path / "recipe.yaml", "--out", tmp_path / "merged")
        assert ended.code == 2 and "movie is an adapter" in ended.err and "spam is an adapter" in ended.err
        assert list(tmp_path.iterdir()) == []
