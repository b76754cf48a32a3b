"""Slopes in the coefficients from slopes in the merged weights: the chain rule of theta(c) = theta_0 + sum c_n v_n."""

from collections.abc import Mapping

import torch
from torch import Tensor

from checkpoints.gram import BLOCK
from checkpoints.groups import Groups
from checkpoints.task_vectors import BlockTransform, TaskVectors


def project(gradients: Mapping[str, Tensor], vectors: TaskVectors, groups: Groups, transform: BlockTransform | None = None) -> Tensor:
    """Derivatives of a loss by the coefficients: inner products of every (grouped) task vector with `gradients`.

    `gradients`: the loss's derivatives by merged tensors, by name, each in its tensor's shape; a tensor without one counts as zero.
    Task vectors are read block by block. Returns D float64, D = N x G, the groups of the first tuned checkpoint first.
    """
    slopes = torch.zeros(len(vectors.tuned), len(groups.labels), dtype=torch.float64)
    for tensor in [tensor for tensor in vectors.sizes if tensor in gradients]:
        flat = gradients[tensor].detach().reshape(-1).float().cpu()
        for start in range(0, len(flat), BLOCK):
            deltas = vectors.deltas(tensor, start, min(start + BLOCK, len(flat)))
            if transform:
                deltas = transform.apply(tensor, start, deltas)
            slopes[:, groups.members[tensor]] += (deltas @ flat[start : start + BLOCK]).double()
    return slopes.flatten()
