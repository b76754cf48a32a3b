"""The seeded division of a dataset into a search and a report split."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain.task import Split, SplitShares

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Splits:
    """Disjoint row numbers, each ascending."""

    search: Rows
    report: Rows

    def rows(self, split: Split) -> Rows:
        return self.search if split == "search" else self.report


def split_rows(examples: int, shares: SplitShares) -> Splits:
    """Which rows of a dataset of `examples` rows belong to which split.

    Draw one raw 64-bit word a row from numpy's PCG64(seed) and order the rows by their words (stable). With s and r the shares, the
    first floor(s·n + 1/2) rows of that order are the search split, the next ones up to floor((s + r)·n + 1/2) the report split.
    Raw words, since numpy promises their stream for good and that of `permutation` not: the same on every machine and release.
    """
    words = np.random.PCG64(shares.seed).random_raw(examples)
    order = np.argsort(words, kind="stable")
    first = _round(shares.search * examples)
    last = min(_round((shares.search + shares.report) * examples), examples)
    return Splits(np.sort(order[:first]), np.sort(order[first:last]))


def _round(count: float) -> int:
    # shares such as 0.1 + 0.2 carry the dust of binary fractions, which must not decide a half
    return int(np.floor(round(count, 6) + 0.5))
