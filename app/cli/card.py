"""The model card of a merge, from what the study knows of it."""

from importlib.metadata import version

from app.cli.point import ChosenPoint
from checkpoints.groups import Coefficients
from checkpoints.layout import Layout
from checkpoints.model_card import CardFacts, Ingredient, TaskScores, write_card
from checkpoints.model_set import ModelSet
from checkpoints.transforms.spec import Transform


def card_of(
    chosen: ChosenPoint, models: ModelSet, coefficients: Coefficients, transform: Transform, source: str, form: str
) -> bytes:
    """README.md of the merge at `chosen`, UTF-8. `source`: the run or manifest it comes from; `form`: what is written."""
    at = ",".join(repr(value) for value in chosen.coefficients)
    facts = CardFacts(
        title=f"{chosen.spec.name}: {chosen.how}",
        base=_ingredient("base", "models.base", models.base.layout, chosen),
        tuned=[_ingredient(name, f"models.tuned.{name}", one.tensors.layout, chosen) for name, one in models.sources.items()],
        groups=coefficients.groups.labels,
        coefficients=dict(zip(models.tuned, coefficients.rows, strict=True)),
        transform=transform,
        scores=[_scores(chosen, task.name, task.metric) for task in chosen.spec.tasks],
        versions={name: version(name) for name in ("mergefront", "torch", "safetensors")},
        commands=[f"mergefront merge {source} --at {at} --out MERGED"],
        form=form,
    )
    return write_card(facts).encode()


def _ingredient(name: str, key: str, layout: Layout, chosen: ChosenPoint) -> Ingredient:
    return Ingredient(name, str(layout.root), chosen.digests.get(key, ""))


def _scores(chosen: ChosenPoint, task: str, metric: str) -> TaskScores:
    interval = chosen.intervals.get(task)
    return TaskScores(task, metric, chosen.predicted.get(task), interval, chosen.search.get(task), chosen.report.get(task))
