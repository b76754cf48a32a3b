"""Trains what a trainee lets move: AdamW, warm-up and cosine, stopped early, and where it was cut it goes on to the same result."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from app.datasets.check import OutputKind
from app.domain.errors import MeasurementError
from app.domain.finetune import TrainingSpec
from app.domain.task import Split
from workers.evaluators.scorer import TaskScorer
from workers.finetuning.examples import Examples, parts_of
from workers.finetuning.saved_state import Standing, load_state, save_state
from workers.finetuning.trainee import Trainee

SAVE_SECONDS = 30.0
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
_EVALUATED = 4  # batches of training that a pass without gradients takes at once


@dataclass(frozen=True)
class Advance:
    """How far a training is: steps taken of all, epochs done, the latest held-out score (None before the first epoch's end)."""

    step: int
    steps: int
    epoch: int
    score: float | None


@dataclass(frozen=True)
class Trained:
    """`scores`: of the best epoch, on the held-out and the report examples; `epochs`: held-out scores; `seconds`: of training."""

    scores: Mapping[str, float]
    epochs: tuple[float, ...]
    seconds: float


def train(trainee: Trainee, directory: Path, digest: str, tell: Callable[[Advance], None]) -> Trained:
    """Leaves `trainee` at its best epoch. The state is kept in `directory` under `digest`; one that is there is gone on with.

    `tell` is called at every step, and may raise to stop where it is. Raises ConflictError (the state of another training),
    MeasurementError (a loss or outputs that are not finite).
    """
    run = _Run(trainee, directory, digest)
    run.restore()
    while not run.done:
        run.take_step()
        try:
            tell(run.advance)
        except Exception:
            run.save()
            raise
    return run.finish()


def rate_at(step: int, steps: int, training: TrainingSpec) -> float:
    """The learning rate of step 0, 1, ..., steps - 1."""
    rising = math.ceil(training.warmup * steps)
    if step < rising:
        return training.learning_rate * (step + 1) / rising
    return training.learning_rate * 0.5 * (1.0 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


class _Run:
    """One training between its first step and its last."""

    def __init__(self, trainee: Trainee, directory: Path, digest: str) -> None:
        spec = trainee.content.spec
        self.trainee, self.training, self.directory, self.digest = trainee, spec.training, directory, digest
        self.examples = parts_of(trainee.content)
        self.optimiser = torch.optim.AdamW(
            list(trainee.parameters.values()), lr=spec.training.learning_rate, weight_decay=spec.training.weight_decay
        )
        self.epoch_steps = math.ceil(len(self.examples["train"]) / spec.training.batch)
        self.steps = self.epoch_steps * spec.training.epochs
        self.standing = Standing()
        self.best = {name: parameter.detach().clone() for name, parameter in trainee.parameters.items()}
        self.scorer = _scorer(trainee, self.examples)
        self.saved = time.monotonic()

    @property
    def advance(self) -> Advance:
        scores = self.standing.scores
        return Advance(self.standing.step, self.steps, len(scores), scores[-1] if scores else None)

    @property
    def done(self) -> bool:
        return self.standing.step >= self.steps or self.standing.stale >= self.training.patience

    def take_step(self) -> None:
        begun, step = time.monotonic(), self.standing.step
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(step, self.steps, self.training)
        chosen = self._batch(step)
        loss = self._loss(self.examples["train"], chosen)
        if not math.isfinite(loss.item()):
            raise MeasurementError(f"the loss of step {step + 1} is {loss.item()}: lower the learning rate")
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.standing.step += 1
        self.standing.spent += time.monotonic() - begun
        ended = self.standing.step % self.epoch_steps == 0
        if ended:
            self._judge()
        if ended or time.monotonic() - self.saved > SAVE_SECONDS:
            self.save()

    def finish(self) -> Trained:
        _set(self.trainee.parameters, self.best)
        scores = {part: self._score(part)[0] for part in ("held_out", "report")}
        return Trained(scores, tuple(self.standing.scores), self.standing.spent)

    def restore(self) -> None:
        found = load_state(self.directory, self.digest)
        if found is None:
            return
        self.standing, tensors = found
        _set(self.trainee.parameters, {name: tensors[f"now:{name}"] for name in self.trainee.parameters})
        for name, parameter in self.trainee.parameters.items():
            self.best[name] = tensors[f"best:{name}"].to(parameter.device)
            moments = {key: tensors[f"{key}:{name}"] for key in _MOMENTS if f"{key}:{name}" in tensors}
            self.optimiser.state[parameter] = {key: m if key == "step" else m.to(parameter.device) for key, m in moments.items()}

    def save(self) -> None:
        tensors: dict[str, Tensor] = {}
        for name, parameter in self.trainee.parameters.items():
            tensors |= {f"now:{name}": parameter, f"best:{name}": self.best[name]}
            # none of a layer that the outputs do not depend on, a pooler that is not read for one
            tensors |= {f"{key}:{name}": moment for key, moment in self.optimiser.state.get(parameter, {}).items()}
        save_state(self.directory, self.digest, self.standing, tensors)
        self.saved = time.monotonic()

    def _batch(self, step: int) -> Tensor:
        """Places of the examples of a step; a function of the step alone, so that no generator has to be remembered."""
        epoch, number = divmod(step, self.epoch_steps)
        words = np.random.PCG64([self.training.seed, epoch]).random_raw(len(self.examples["train"]))
        order = torch.from_numpy(np.argsort(words, kind="stable"))
        return order[number * self.training.batch : (number + 1) * self.training.batch]

    def _loss(self, examples: Examples, places: Tensor) -> Tensor:
        targets = examples.targets[places.to(examples.targets.device)]
        return loss_of(self.trainee.outputs(examples.take(places)), targets, self.trainee.content.scored.outputs)

    def _judge(self) -> None:
        """An epoch is better by its held-out score, and where that is equal by its loss."""
        score, loss = self._score("held_out")
        self.standing.scores.append(score)
        standing, sign = self.standing, 1.0 if self.trainee.content.spec.task.measure.maximize else -1.0
        mark = (sign * score, -loss)
        if standing.best is not None and mark <= standing.best:
            standing.stale += 1
            return
        standing.best, standing.stale = mark, 0
        self.best = {name: parameter.detach().clone() for name, parameter in self.trainee.parameters.items()}

    def _score(self, part: str) -> tuple[float, float]:
        """Score and mean loss on held-out or report examples."""
        examples, kind = self.examples[part], self.trainee.content.scored.outputs
        with torch.no_grad():
            batches = torch.split(torch.arange(len(examples)), _EVALUATED * self.training.batch)
            outputs = torch.cat([self.trainee.outputs(examples.take(places)).cpu() for places in batches])
        if not bool(outputs.isfinite().all()):
            raise MeasurementError(f"outputs on the {part} examples are NaN or infinite: lower the learning rate")
        score = self.scorer.score_on("search" if part == "held_out" else "report", outputs[None].double())
        return float(score), float(loss_of(outputs, examples.targets.cpu(), kind))


def loss_of(outputs: Tensor, targets: Tensor, kind: OutputKind) -> Tensor:
    """Mean loss of m examples. `outputs`: m x q; `targets`: classes m, values m x q, or tokens m where the outputs are losses already."""
    match kind:
        case "logits":
            return cross_entropy(outputs, targets)
        case "values":
            return mse_loss(outputs, targets.to(outputs.dtype))
        case "losses":
            return (outputs[:, 0] * targets).sum() / targets.sum()


def _scorer(trainee: Trainee, examples: Mapping[str, Examples]) -> TaskScorer:
    targets: dict[Split, Tensor] = {"search": examples["held_out"].targets.cpu(), "report": examples["report"].targets.cpu()}
    return TaskScorer(trainee.content.spec.task.measure, trainee.content.scored.outputs, targets)


def _set(parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(values[name])
