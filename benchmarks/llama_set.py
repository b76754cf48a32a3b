"""Model sets for merge_speed.py: random weights in the layout of a Llama, made once and kept under var/bench."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

HIDDEN, INNER, LAYERS, VOCABULARY = 1024, 4096, 24, 32000
TUNED = ("one", "two", "three", "four")


def make_llama_set(root: Path) -> Path:
    """A base and four tuned checkpoints of 468 M bfloat16 parameters each, as directories of `root`."""
    return _make(root, dict(_llama_shapes()), _llama_config())


def make_tiny_set(root: Path, tensors: int) -> Path:
    """The same set of checkpoints with `tensors` tensors of 64 elements each."""
    shapes = {f"model.layers.{number // 12}.part.{number % 12}.weight": (8, 8) for number in range(tensors)}
    return _make(root, shapes, {})


def _llama_config() -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
        "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": LAYERS, "vocab_size": VOCABULARY,
        "num_attention_heads": 16, "num_key_value_heads": 16, "tie_word_embeddings": False,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "hidden_act": "silu",
    }  # fmt: skip


def _llama_shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "o_proj"):
            yield f"{prefix}.self_attn.{part}.weight", (HIDDEN, HIDDEN)
        yield f"{prefix}.mlp.gate_proj.weight", (INNER, HIDDEN)
        yield f"{prefix}.mlp.up_proj.weight", (INNER, HIDDEN)
        yield f"{prefix}.mlp.down_proj.weight", (HIDDEN, INNER)
        yield f"{prefix}.input_layernorm.weight", (HIDDEN,)
        yield f"{prefix}.post_attention_layernorm.weight", (HIDDEN,)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCABULARY, HIDDEN)


def _make(root: Path, shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, object]) -> Path:
    if (root / "complete").exists():
        return root
    generator = torch.Generator().manual_seed(0)
    base = {name: torch.randn(shape, generator=generator).mul_(0.02).bfloat16() for name, shape in shapes.items()}
    _save(root / "base", base, config)
    for name in TUNED:
        _save(root / name, {key: _tune(tensor, generator) for key, tensor in base.items()}, config)
    (root / "complete").touch()
    return root


def _tune(tensor: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(tensor.shape, generator=generator).mul_(0.004).add_(tensor).bfloat16()


def _save(directory: Path, tensors: dict[str, Tensor], config: Mapping[str, object]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "config.json").write_text(json.dumps(config))
