"""The model card of a merge, from what the study knows of it."""

from importlib.metadata import version

from app.domain.merge import ChosenPoint
from checkpoints.groups import Coefficients
from checkpoints.model_card import CardFacts, Ingredient, TaskScores, write_card
from checkpoints.model_set import ModelSet
from checkpoints.tangent_export import HOW_TO_LOAD
from checkpoints.tangents import is_tangent
from checkpoints.transforms.spec import Transform

TANGENT = "tangent adapter"


def form_of(models: ModelSet) -> str:
    """What merges of adapters are written as."""
    return TANGENT if is_tangent(models) else "PEFT adapter"


def card_of(
    chosen: ChosenPoint, models: ModelSet, coefficients: Coefficients, transform: Transform, source: str, form: str
) -> bytes:
    """README.md of the merge at `chosen`, UTF-8. `source`: the run or manifest it comes from; `form`: what is written."""
    at = ",".join(repr(value) for value in chosen.coefficients)
    facts = CardFacts(
        title=f"{chosen.spec.name}: {chosen.how}",
        base=Ingredient("base", chosen.spec.models.base, chosen.digests.get("models.base", "")),
        tuned=[Ingredient(name, path, chosen.digests.get(f"models.tuned.{name}", "")) for name, path in chosen.spec.models.tuned.items()],
        groups=coefficients.groups.labels,
        coefficients=dict(zip(models.tuned, coefficients.rows, strict=True)),
        transform=transform,
        scores=[_scores(chosen, task.name, task.metric) for task in chosen.spec.tasks],
        versions={name: version(name) for name in ("mergefront", "torch", "safetensors")},
        commands=[f"mergefront merge {source} --at {at} --out MERGED"],
        form=form,
        notes=[HOW_TO_LOAD] if form == TANGENT else [],
    )
    return write_card(facts).encode()


def _scores(chosen: ChosenPoint, task: str, metric: str) -> TaskScores:
    interval = chosen.intervals.get(task)
    return TaskScores(task, metric, chosen.predicted.get(task), interval, chosen.search.get(task), chosen.report.get(task))
