"""The one door from a transform's name and numbers to its prepared form."""

from checkpoints.task_vectors import BlockTransform, TaskVectors
from checkpoints.transforms.dare import Dropped
from checkpoints.transforms.spec import Dare, Magnitude, NoTransform, Scope, Ties, Transform
from checkpoints.transforms.threshold import find_cut
from checkpoints.transforms.ties import Agreed
from checkpoints.transforms.trim import Trimmed


def prepare_transform(transform: Transform, vectors: TaskVectors) -> BlockTransform | None:
    """Run the transform's preparing pass over the task vectors; None where there is nothing to apply.

    Trimming reads every task vector once (rarely twice) in blocks; DARE reads nothing.
    """
    match transform:
        case NoTransform():
            return None
        case Dare(drop, seed):
            return Dropped(drop, seed)
        case Magnitude(density, scope):
            return prepare_trim(density, scope, vectors)
        case Ties(density, scope):
            return Agreed(prepare_trim(density, scope, vectors))


def prepare_trim(density: float, scope: Scope, vectors: TaskVectors) -> Trimmed:
    """Find the magnitudes that keep the `density` share of every task vector (or of every tensor of it)."""
    names = tuple(vectors.sizes)
    pools = [names] if scope is Scope.MODEL else [(name,) for name in names]
    cuts = [(pool, find_cut(vectors, pool, density)) for pool in pools]
    return Trimmed(
        thresholds={name: cut.thresholds for pool, cut in cuts for name in pool},
        cuts_ties=any(cut.cuts_ties for _, cut in cuts),
    )
