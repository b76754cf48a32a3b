"""Fine-tuning: an adapter trained for one task."""

from dataclasses import dataclass, field
from typing import Literal

from app.domain.study import Architecture
from app.domain.task import TaskSpec

AdapterName = Literal["lora", "llora", "tangent"]


@dataclass(frozen=True)
class AdapterSpec:
    """What trains. `targets`: names of layers or patterns over them, none for all; `seed`: of the start A0, one for all tasks."""

    kind: AdapterName = "lora"
    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class TrainingSpec:
    """How it trains: AdamW, its rate rising over the share `warmup` of all steps and falling as a cosine.

    Examples are those of the search split; the share `held_out` of them decides when to stop: after `patience` epochs without a better
    score. `head`: whether the task's head trains too. `seed`: of the order of examples, of what is held out, and of a fresh head.
    """

    epochs: int = 10
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup: float = 0.1
    batch: int = 32
    patience: int = 3
    held_out: float = 0.2
    head: bool = False
    seed: int = 0


@dataclass(frozen=True)
class FinetuneSpec:
    """Everything that a fine-tuning is asked to do; equal specs give equal adapters on one machine. `base`: a path or an id."""

    base: str
    architecture: Architecture
    task: TaskSpec
    adapter: AdapterSpec = field(default_factory=AdapterSpec)
    training: TrainingSpec = field(default_factory=TrainingSpec)
