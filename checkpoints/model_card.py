"""The README.md of a merged checkpoint: how its weights came about, and how to make them again."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from checkpoints.transforms.spec import Dare, Magnitude, NoTransform, Scope, Ties, Transform


@dataclass(frozen=True)
class Ingredient:
    """One checkpoint that went in. `source`: its path or id; `digest`: of its files; `hub`: owner/name, where it is on a model hub."""

    name: str
    source: str
    digest: str
    hub: str = ""


@dataclass(frozen=True)
class TaskScores:
    """What a task says of this merge, in the metric's own direction and units; None where it was not predicted or not measured.

    `interval`: 95 %, of the prediction.
    """

    task: str
    metric: str
    predicted: float | None = None
    interval: tuple[float, float] | None = None
    search: float | None = None
    report: float | None = None


@dataclass(frozen=True)
class CardFacts:
    """Everything a card states. `coefficients`: by tuned checkpoint, one value a group of `groups`.

    `versions`: of programs and libraries; `commands`: lines that make these weights again; `form`: what was written, such as
    "full weights" or "PEFT adapter"; `notes`: further sentences, such as the error of a rank that was cut.
    """

    title: str
    base: Ingredient
    tuned: Sequence[Ingredient]
    groups: Sequence[str]
    coefficients: Mapping[str, Sequence[float]]
    transform: Transform
    scores: Sequence[TaskScores] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    commands: Sequence[str] = ()
    form: str = "full weights"
    notes: Sequence[str] = ()


def write_card(facts: CardFacts) -> str:
    """The card as Markdown, with the front matter that model hubs read."""
    sections = [_header(facts), _origin(facts), _coefficients(facts), _scores(facts), _again(facts)]
    return "\n\n".join(section for section in sections if section) + "\n"


def describe_transform(transform: Transform) -> str:
    """A transform in a few words, such as "TIES (density 0.2 of the whole model)"."""
    match transform:
        case NoTransform():
            return "none (task arithmetic)"
        case Ties(density, scope):
            return f"TIES (density {density:g} of {_whole(scope)})"
        case Magnitude(density, scope):
            return f"trimming by magnitude (density {density:g} of {_whole(scope)})"
        case Dare(drop, seed):
            return f"DARE (drop rate {drop:g}, seed {seed})"


def _whole(scope: Scope) -> str:
    return "the whole model" if scope is Scope.MODEL else "each tensor"


def _header(facts: CardFacts) -> str:
    matter: dict[str, Any] = {"tags": ["merge", "mergefront", "model-merging"]}
    hub_names = [item.hub for item in (facts.base, *facts.tuned) if item.hub]
    if hub_names:
        matter |= {"base_model": hub_names, "base_model_relation": "merge"}
    front = yaml.safe_dump(matter, sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n# {_cell(facts.title)}"


def _origin(facts: CardFacts) -> str:
    lines = [
        f"A merge of {len(facts.tuned)} fine-tuned checkpoints of one base, written as {facts.form} by mergefront:",
        "each fine-tune's difference from the base is scaled by its coefficient and added to the base.",
        "",
        f"Transform of the differences: {describe_transform(facts.transform)}.",
        *(["", *facts.notes] if facts.notes else []),
        "",
        *_table(("checkpoint", "role", "source", "digest"), _ingredients(facts)),
    ]
    return "\n".join(lines)


def _ingredients(facts: CardFacts) -> Iterator[tuple[str, ...]]:
    yield facts.base.name, "base", f"`{facts.base.source}`", f"`{facts.base.digest}`"
    for item in facts.tuned:
        yield item.name, "fine-tune", f"`{item.source}`", f"`{item.digest}`"


def _coefficients(facts: CardFacts) -> str:
    head = ("checkpoint", *facts.groups) if len(facts.groups) > 1 else ("checkpoint", "coefficient")
    # repr is the shortest text that reads back to the same number: the merge can be made again from it
    rows = ((name, *(repr(float(value)) for value in values)) for name, values in facts.coefficients.items())
    return "\n".join(["## Coefficients", "", *_table(head, rows)])


def _scores(facts: CardFacts) -> str:
    if not facts.scores:
        return ""
    rows = (
        (score.task, score.metric, _number(score.predicted), _interval(score.interval), _number(score.search), _number(score.report))
        for score in facts.scores
    )
    text = "Search scores are of the examples that the coefficients were chosen on; report scores are of examples that no choice ever saw."
    return "\n".join(["## Scores", "", text, "", *_table(("task", "metric", "predicted", "95 % interval", "search", "report"), rows)])


def _again(facts: CardFacts) -> str:
    lines = ["## How to make it again"]
    if facts.commands:
        lines += ["", "```sh", *facts.commands, "```"]
    if facts.versions:
        lines += ["", *_table(("program", "version"), facts.versions.items())]
    return "\n".join(lines) if len(lines) > 1 else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _interval(value: tuple[float, float] | None) -> str:
    return "" if value is None else f"{value[0]:.4g} to {value[1]:.4g}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _line(head)
    yield _line(["---"] * len(head))
    for row in rows:
        yield _line(row)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    """One line that cannot break out of a table or a heading."""
    return " ".join(text.split()).replace("|", "\\|")
