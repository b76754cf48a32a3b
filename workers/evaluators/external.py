"""The evaluator of a study whose every task is scored elsewhere: it measures nothing, but knows the task vectors."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from app.domain.errors import MeasurementError
from app.domain.study import StudySpec
from app.domain.trial import Proposal
from checkpoints.gram import gram
from checkpoints.pairing import Pairing, pairing_of
from checkpoints.transforms.prepare import prepare_transform
from workers.evaluators.merges import to_transform
from workers.evaluators.protocol import Evaluation, Scorer
from workers.evaluators.weights import Findings, read_weights


@dataclass(frozen=True)
class ExternalEvaluator:
    """An `Evaluator` (see protocol.py) without tasks of its own."""

    gram: Tensor
    group_labels: tuple[str, ...]
    pairing: Pairing
    scorers: Mapping[str, Scorer] = field(default_factory=dict)
    plan: str = "every task is evaluated elsewhere"

    def evaluate(self, proposal: Proposal) -> Evaluation:
        """Raises MeasurementError: nothing can be measured here."""
        raise MeasurementError("every task of this study is evaluated elsewhere: ask for its trials")


def open_external(spec: StudySpec) -> ExternalEvaluator:
    """From the weights alone; neither architecture nor data is looked at. Raises RefusedError with every fault."""
    findings = Findings()
    found = read_weights(spec, findings)
    findings.refuse()
    assert found.models is not None and found.groups is not None  # without a fault all is there
    transform = prepare_transform(to_transform(spec.transform), found.models)
    return ExternalEvaluator(gram(found.models, found.groups, transform), found.groups.labels, pairing_of(found.models))
