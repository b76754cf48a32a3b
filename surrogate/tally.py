"""Accuracy of affine leads in one compiled pass: product, maximum and count at more than half the rate of the product alone.

A tensor library writes all leads to memory and reads them again to compare them; here two examples at a time are followed through their
rivals while their leads stay in registers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surrogate.compiled import in_parallel, kept

# Coefficient vectors that are followed together: their coefficients and the leads of two examples fit into a core's first cache.
LANES = 256
# Coefficients that are added in one go.
STRIP = 8
LEAST = np.float32(-3e38)

Singles = NDArray[np.float32]
Counts = NDArray[np.int32]


@dataclass(frozen=True)
class Tally:
    """Leads that are affine in the coefficients. Built by `tally_of`.

    `parts`: pairs of examples x (q - 1) x 2 x (1 + S): what 1 and each coefficient add to a rival's lead, S coefficients in whole strips.
    An odd example is paired with one that is never right. `examples`: of all.
    """

    parts: Singles
    examples: int

    def share_right(self, coefficients: Tensor) -> Tensor:
        """Share of the examples whose leads are all negative, n, float64. `coefficients`: n x D."""
        tiles = _tiles(coefficients, self.parts.shape[3] - 1)
        right = np.empty((len(tiles), LANES), dtype=np.int32)
        threads = max(1, min(torch.get_num_threads(), len(tiles)))
        shares = [slice(number, None, threads) for number in range(threads)]
        # the copy of a share is small: the coefficients of its vectors
        for share, found in zip(shares, in_parallel(lambda share: _counted(self.parts, tiles[share]), shares), strict=True):
            right[share] = found
        return torch.from_numpy(right.reshape(-1)[: len(coefficients)] / self.examples)


def tally_of(parts: Tensor) -> Tally:
    """The tally of leads (D + 1) x (q - 1) x m: those of the origin, then what each coefficient adds."""
    width, rivals, examples = parts.shape
    padded = np.zeros((-(-examples // 2), rivals, 2, 1 + _whole(width - 1)), dtype=np.float32)
    padded[:, :, :, 0] = 1.0
    by_example = padded.transpose(0, 2, 1, 3).reshape(-1, rivals, padded.shape[3])
    by_example[:examples, :, :width] = parts.float().permute(2, 1, 0).numpy()
    return Tally(np.ascontiguousarray(by_example.reshape(-1, 2, rivals, padded.shape[3]).transpose(0, 2, 1, 3)), examples)


def _whole(coefficients: int) -> int:
    """Rounded up to whole strips."""
    return -(-coefficients // STRIP) * STRIP


def _tiles(coefficients: Tensor, width: int) -> Singles:
    """Coefficients by tile, coefficient and lane, zero where there are none: tiles x width x LANES."""
    count, dimension = coefficients.shape
    padded = np.zeros((-(-count // LANES) * LANES, width), dtype=np.float32)
    padded[:count, :dimension] = coefficients.numpy()
    return np.ascontiguousarray(padded.reshape(-1, LANES, width).transpose(0, 2, 1))


def _counted(parts: Singles, tiles: Singles) -> Counts:
    right = np.zeros((len(tiles), LANES), dtype=np.int32)
    count = _count_strip if tiles.shape[1] == STRIP else _count_many
    count(parts, np.ascontiguousarray(tiles), right)
    return right


# products may be fused with sums; NaN and infinity do not occur
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nnan", "ninf", "nsz"}}


@kept(**_OPTIONS)
def _count_strip(parts: Any, tiles: Any, right: Any) -> None:
    """Writes into `right` (tiles x LANES) how many examples of `parts` are right at each of the vectors in `tiles`, of one strip."""
    best, other = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    hits = np.empty(LANES, np.int32)
    for tile in range(len(tiles)):
        c = tiles[tile]
        c1, c2, c3, c4, c5, c6, c7, c8 = c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
        for k in range(LANES):
            hits[k] = 0
        for pair in range(len(parts)):
            for k in range(LANES):
                best[k], other[k] = LEAST, LEAST
            for number in range(parts.shape[1]):
                a, b = parts[pair, number, 0], parts[pair, number, 1]
                a0, a1, a2, a3, a4, a5, a6, a7, a8 = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8]
                b0, b1, b2, b3, b4, b5, b6, b7, b8 = b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8]
                for k in range(LANES):
                    lead = a0 + a1 * c1[k] + a2 * c2[k] + a3 * c3[k] + a4 * c4[k] + a5 * c5[k] + a6 * c6[k] + a7 * c7[k] + a8 * c8[k]
                    rival = b0 + b1 * c1[k] + b2 * c2[k] + b3 * c3[k] + b4 * c4[k] + b5 * c5[k] + b6 * c6[k] + b7 * c7[k] + b8 * c8[k]
                    best[k] = max(best[k], lead)
                    other[k] = max(other[k], rival)
            for k in range(LANES):
                hits[k] += (1 if best[k] < 0.0 else 0) + (1 if other[k] < 0.0 else 0)
        for k in range(LANES):
            right[tile, k] = hits[k]


@kept(**_OPTIONS)
def _count_many(parts: Any, tiles: Any, right: Any) -> None:
    """The same for any number of coefficients."""
    best, lead, hits = np.empty(LANES, np.float32), np.empty(LANES, np.float32), np.empty(LANES, np.int32)
    for tile in range(len(tiles)):
        for k in range(LANES):
            hits[k] = 0
        for example in range(2 * len(parts)):
            for k in range(LANES):
                best[k] = LEAST
            for number in range(parts.shape[1]):
                part = parts[example // 2, number, example % 2]
                for k in range(LANES):
                    lead[k] = part[0]
                for first in range(0, tiles.shape[1], 4):
                    c1, c2, c3, c4 = tiles[tile, first], tiles[tile, first + 1], tiles[tile, first + 2], tiles[tile, first + 3]
                    a1, a2, a3, a4 = part[first + 1], part[first + 2], part[first + 3], part[first + 4]
                    for k in range(LANES):
                        lead[k] += a1 * c1[k] + a2 * c2[k] + a3 * c3[k] + a4 * c4[k]
                for k in range(LANES):
                    best[k] = max(best[k], lead[k])
            for k in range(LANES):
                hits[k] += 1 if best[k] < 0.0 else 0
        for k in range(LANES):
            right[tile, k] = hits[k]
