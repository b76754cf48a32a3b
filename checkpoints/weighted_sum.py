"""theta_0 + sum of c_n v_n over one block of tensors: the arithmetic of every merge."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from checkpoints.kernel import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, write_rows

_KINDS = {torch.float64: FLOAT64, torch.float32: FLOAT32, torch.bfloat16: BFLOAT16, torch.float16: FLOAT16}


@dataclass(frozen=True, slots=True)
class Term:
    """What one coefficient scales: theta_n as it is stored (`whole`), or the task vector v_n itself. `values`: flat, floating."""

    coefficient: float
    values: Tensor
    whole: bool


def write_sum(base: Tensor, terms: Sequence[Term], out: Tensor) -> bool:
    """Write theta_0 plus the scaled task vectors into `out`; whether all of the results are finite.

    `base`: theta_0. Summed in float64 in the order of `terms`, rounded once (twice where `out` has 16 bits: through float32).
    All flat, contiguous, floating, of one length, any dtypes, in the machine's own memory.
    """
    rows = (base, *(term.values for term in terms), out)
    addresses = np.array([row.data_ptr() for row in rows])
    kinds = np.array([_KINDS[row.dtype] for row in rows])
    coefficients = np.array([term.coefficient for term in terms], dtype=np.float64)
    whole = np.array([term.whole for term in terms], dtype=np.bool_)
    return bool(write_rows(addresses, kinds, coefficients, whole, out.numel()))
