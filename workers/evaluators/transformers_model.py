"""Architecture `transformers`: a module of an auto class, built from the base's config.json; nothing is downloaded or initialised."""

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.functional import normalize as unit_length
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightRenaming
from transformers.initialization import no_init_weights

from app.domain.errors import Fault, RefusedError
from app.domain.study import TransformersArchitecture
from workers.evaluators.inputs import MASK, TOKENS
from workers.evaluators.naming import Naming
from workers.evaluators.network import Gives, Inputs, Network

WHERE = "architecture.transformers"


def build_transformers_network(architecture: TransformersArchitecture, directory: Path) -> Network:
    """The module that `directory`/config.json describes, parameters uninitialised, tied as the config says.

    Raises RefusedError: no config.json, one that the auto class does not know.
    """
    module = _build(architecture, directory)
    prefix = str(module.base_model_prefix)
    gives: Gives
    match architecture.auto_class:
        case "AutoModelForCausalLM":
            run, gives = partial(_losses, module), "losses"
        case "AutoModel":
            run, gives = partial(_features, module, architecture), "features"
        case _:
            run, gives = partial(_logits, module), "logits"
    return Network(
        module,
        run,
        gives,
        lone=str(module.main_input_name),
        accepts=frozenset(inspect.signature(module.forward).parameters),
        width=getattr(module.config.get_text_config(), "hidden_size", None) if gives == "features" else None,
        naming=Naming(prefix, _renaming(module)),
        own=tuple(name for name in _parameters(module) if not name.startswith(f"{prefix}.")) if gives == "logits" else (),
        spare=frozenset(name for name in _parameters(module) if name.startswith("pooler.")) if gives == "features" else frozenset(),
        config=module.config,
    )


def _build(architecture: TransformersArchitecture, directory: Path) -> Any:
    if not (directory / "config.json").is_file():
        raise RefusedError([Fault(WHERE, f"{directory} holds no config.json, which says how the module is built")])
    auto_class = getattr(transformers, architecture.auto_class)
    try:
        config = transformers.AutoConfig.from_pretrained(directory, local_files_only=True)
        config.use_cache = False  # nothing is generated
        with no_init_weights():
            module = auto_class.from_config(config, dtype=torch.float32)
    except Exception as error:  # the library raises whatever its configs raise
        raise RefusedError([Fault(WHERE, f"{architecture.auto_class} cannot be built from {directory}: {error}")]) from error
    module.tie_weights()
    return module.eval().requires_grad_(False)


def _renaming(module: Any) -> Callable[[str], str]:
    """The family's renamed parts, as the library's own loading translates them. Tensors that it would also reshape stay unfound."""
    renamings = [step for step in get_model_conversion_mapping(module) if isinstance(step, WeightRenaming)]

    def rename(name: str) -> str:
        for step in renamings:
            name, _ = step.rename_source_key(name)
        return name

    return rename


def _parameters(module: nn.Module) -> tuple[str, ...]:
    return tuple(name for name, _ in module.named_parameters())


def _logits(module: nn.Module, inputs: Inputs) -> Tensor:
    logits: Tensor = module(**inputs).logits
    return logits


def _features(module: nn.Module, architecture: TransformersArchitecture, inputs: Inputs) -> Tensor:
    hidden = module(**inputs).last_hidden_state
    features = _pool(hidden.flatten(2).mT if hidden.ndim == 4 else hidden, inputs.get(MASK), architecture.pooling)
    return unit_length(features, dim=-1) if architecture.normalize else features


def _pool(hidden: Tensor, mask: Tensor | None, pooling: str) -> Tensor:
    """n x length x width -> n x width; padded places (mask 0, always behind the others) do not count."""
    if pooling == "cls":
        return hidden[:, 0]
    if mask is None:
        return hidden[:, -1] if pooling == "last" else hidden.mean(1)
    if pooling == "last":
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]
    weights = mask[:, :, None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def _losses(module: nn.Module, inputs: Inputs) -> Tensor:
    """Mean negative log-likelihood of every text's tokens after its first, n x 1, float32, nats; 0 for a text of one token."""
    logits, tokens = module(**inputs).logits, inputs[TOKENS]
    mask = inputs[MASK][:, 1:] if MASK in inputs else torch.ones_like(tokens[:, 1:])
    # text by text: a float32 copy of all logits of a batch would be the largest tensor of all
    losses = [cross_entropy(logits[row, :-1].float(), tokens[row, 1:], reduction="none") for row in range(len(tokens))]
    return ((torch.stack(losses) * mask).sum(1) / mask.sum(1).clamp_min(1))[:, None]
