"""DARE (arXiv 2311.03099): drop entries at random, rescale the rest."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Philox
from torch import Tensor

_DRAWS_PER_STEP = 8  # one step of Philox's counter gives 4 words of 64 bits


def drop_mask(drop: float, seed: int, index: int, tensor: str, start: int, size: int) -> Tensor:
    """True where an entry stays. A draw depends on (seed, tuned index, tensor name, element index) alone, not on blocks."""
    key = hashlib.blake2b(f"{seed}:{index}:{tensor}".encode(), digest_size=16).digest()
    first, offset = divmod(start, _DRAWS_PER_STEP)
    generator = Philox(key=int.from_bytes(key, "little"))
    generator.advance(first)
    words = np.asarray(generator.random_raw(-(-(offset + size) // 2)), dtype="<u8")
    draws = words.view("<u4")[offset : offset + size]
    return torch.from_numpy(draws >= np.uint32(min(round(drop * 2**32), 2**32 - 1)))


@dataclass(frozen=True)
class Dropped:
    """The prepared form of DARE: nothing to find, the draws are a function of where an entry stands."""

    drop: float
    seed: int

    def apply(self, tensor: str, start: int, deltas: Tensor) -> Tensor:
        """Kept entries divided by 1 - drop, the rest zero, so that the expectation over seeds is the task vector itself."""
        rows = [
            torch.where(drop_mask(self.drop, self.seed, index, tensor, start, len(row)), row / (1.0 - self.drop), 0.0)
            for index, row in enumerate(deltas)
        ]
        return torch.stack(rows)
