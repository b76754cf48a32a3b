"""Inner products of the task vectors: how far a step in the coefficients moves the weights."""

import torch
from torch import Tensor

from checkpoints.groups import Groups
from checkpoints.task_vectors import BlockTransform, TaskVectors

BLOCK = 1 << 16


def gram(vectors: TaskVectors, groups: Groups, transform: BlockTransform | None = None) -> Tensor:
    """G with G[i, j] = v_i . v_j, so that |theta(c) - theta(c')|^2 = (c - c')^T G (c - c').

    A coefficient belongs to one tuned checkpoint and one group; its v is the task vector inside that group, zero elsewhere, so
    that products across groups vanish. Returns D x D float64, D = N x G, the groups of the first tuned checkpoint first.
    """
    count, width = len(vectors.tuned), len(groups.labels)
    products = torch.zeros(count, width, count, width, dtype=torch.float64)
    for tensor, size in vectors.sizes.items():
        group = groups.members[tensor]
        for start in range(0, size, BLOCK):
            deltas = vectors.deltas(tensor, start, min(start + BLOCK, size))
            if transform:
                deltas = transform.apply(tensor, start, deltas)
            rows = deltas.double()
            products[:, group, :, group] += rows @ rows.T
    return products.reshape(count * width, count * width)
