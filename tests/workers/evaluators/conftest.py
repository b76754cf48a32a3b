"""Small model sets of every kind, written to disk as users have them: digits networks, and tiny transformers made from a config."""

import json
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from app.domain.study import FactoryArchitecture, ModelSetSpec, StudySpec, TransformersArchitecture
from app.domain.task import SplitShares, TaskSpec

NET = textwrap.dedent(
    """
    from torch import nn

    class Net(nn.Module):
        def __init__(self, width=16):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(64, width), nn.Linear(width, width)])
            self.norm = nn.BatchNorm1d(width)

        def forward(self, x):
            for layer in self.layers:
                x = layer(x).relu()
            return self.norm(x)
    """
)

CORPUS = [
    "the cat sat on the mat",
    "a dog barks at the moon",
    "rain falls on the quiet town",
    "the moon is bright",
    "cats and dogs run",
    "quiet rain",
    "the town sleeps while the dog barks and the cat runs along the bright wall",
    "moon",
]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def perturbed(state: Mapping[str, torch.Tensor], seed: int, scale: float = 0.05) -> dict[str, torch.Tensor]:
    """A tuned checkpoint: every floating tensor moved a little, integers as they are."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (tensor + scale * torch.randn(tensor.shape, generator=generator)).abs_()
        if "running_var" in name
        else tensor + scale * torch.randn(tensor.shape, generator=generator)
        if tensor.is_floating_point()
        else tensor.clone()
        for name, tensor in state.items()
    }


@pytest.fixture
def tune() -> Callable[..., dict[str, torch.Tensor]]:
    return perturbed


@pytest.fixture
def digits_study(tmp_path: Path) -> StudySpec:
    """Two tuned digits networks, two tasks over one data file (all ten digits; odd or even), linear heads."""
    (tmp_path / "net.py").write_text(NET)
    space: dict[str, type] = {}
    exec(NET, space)  # noqa: S102
    torch.manual_seed(0)
    base = space["Net"]().state_dict()
    save_file(base, tmp_path / "base.safetensors")
    for seed, name in enumerate(("ten", "odd")):
        save_file(perturbed(base, seed, 0.2), tmp_path / f"{name}.safetensors")
    digits = load_digits()
    images, targets = torch.from_numpy(digits.data).float().contiguous() / 16, torch.from_numpy(digits.target).long()
    save_file({"inputs": images, "targets": targets}, tmp_path / "ten-data.safetensors")
    save_file({"inputs": images, "targets": targets % 2}, tmp_path / "odd-data.safetensors")
    heads = {"ten.weight": torch.randn(10, 16), "ten.bias": torch.randn(10), "odd.weight": torch.randn(2, 16)}
    save_file(heads, tmp_path / "heads.safetensors")
    tasks = tuple(
        TaskSpec(name, str(tmp_path / f"{name}-data.safetensors"), "accuracy", SplitShares(), f"{tmp_path}/heads.safetensors#{name}")
        for name in ("ten", "odd")
    )
    tuned = {name: str(tmp_path / f"{name}.safetensors") for name in ("ten", "odd")}
    models = ModelSetSpec(str(tmp_path / "base.safetensors"), tuned)
    return StudySpec("digits", models, FactoryArchitecture(str(tmp_path / "net.py"), "Net"), tasks)


def write_tokenizer(directory: Path) -> int:
    """A word tokenizer of the corpus in the format of the library; returns the size of its vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = sorted({word for text in CORPUS for word in text.split()})
    vocabulary = {token: number for number, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", model_max_length=32
    )
    fast.save_pretrained(directory)
    return len(vocabulary)


def tiny_config(kind: str, vocabulary: int):
    import transformers

    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    if kind == "bert":
        return transformers.BertConfig(vocab_size=vocabulary, max_position_embeddings=32, **shape)
    if kind == "llama":
        return transformers.LlamaConfig(
            vocab_size=vocabulary, max_position_embeddings=32, num_key_value_heads=2, tie_word_embeddings=True, pad_token_id=0, **shape
        )
    return transformers.ViTConfig(image_size=8, patch_size=4, num_channels=1, **shape)


@pytest.fixture
def write_transformer(tmp_path: Path) -> Callable[..., Path]:
    """write(name, auto_class, kind, seed, labels=2, like=None): a tiny random model as a directory, with a tokenizer.

    `like`: another such directory whose backbone it shares but for a small step.
    """
    import transformers

    def write(name: str, auto_class: str, kind: str = "bert", seed: int = 0, labels: int = 2, like: Path | None = None) -> Path:
        directory = tmp_path / name
        config = tiny_config(kind, write_tokenizer(directory))
        config.num_labels = labels
        torch.manual_seed(seed)
        model = getattr(transformers, auto_class).from_config(config)
        if like is not None:
            backbone = getattr(model, model.base_model_prefix, model)
            theirs = transformers.AutoModel.from_pretrained(like).state_dict()
            mine = {key: theirs[key] for key in backbone.state_dict() if key in theirs}
            backbone.load_state_dict(perturbed(mine, seed, 0.1), strict=False)
            model.tie_weights()
        model.save_pretrained(directory)
        return directory

    return write


@pytest.fixture
def text_data(tmp_path: Path) -> Callable[..., str]:
    """write(name, labels): the corpus, 40 lines of it, with labels that cycle through the classes; 0 for texts alone."""

    def write(name: str, classes: int) -> str:
        texts = [CORPUS[number % len(CORPUS)] + " rain" * (number % 3) for number in range(40)]
        rows = [{"text": text} | ({"label": number % classes} if classes else {}) for number, text in enumerate(texts)]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


@pytest.fixture
def transformers_study() -> Callable[..., StudySpec]:
    """study(auto_class, base, tuned, tasks, **architecture)"""

    def study(auto_class: str, base: Path, tuned: Mapping[str, Path], tasks: tuple[TaskSpec, ...], **architecture: object) -> StudySpec:
        models = ModelSetSpec(str(base), {name: str(path) for name, path in tuned.items()})
        return StudySpec("tiny", models, replace(TransformersArchitecture(auto_class), **architecture), tasks)

    return study


@pytest.fixture
def with_task() -> Callable[..., StudySpec]:
    """with_task(study, **changes): the study with its first task changed."""

    def change(study: StudySpec, **changes: object) -> StudySpec:
        return replace(study, tasks=(replace(study.tasks[0], **changes), *study.tasks[1:]))

    return change


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
