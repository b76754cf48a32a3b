"""Networks with every kind of layer that adapters reach, and of operation that a linearisation passes."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from workers.adapters.factors import Factor, choose_layers, draw_start, zero_b


class Net(nn.Module):
    """8 x 8 images to 6 features: convolutions, a normalisation, attention, linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, 2, 1)
        self.point = nn.Conv2d(8, 8, 1, bias=False)
        self.norm = nn.GroupNorm(2, 8)
        self.mixed = nn.Linear(8, 24)
        self.out = nn.Linear(8, 6)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.norm(self.point(torch.relu(self.stem(images)))).flatten(2).mT
        query, key, value = self.mixed(hidden)[:, None].chunk(3, -1)
        mixed = scaled_dot_product_attention(query, key, value)[:, 0]
        return self.out(torch.nn.functional.gelu(hidden + mixed).mean(1))


def network(dtype: torch.dtype = torch.float64) -> Net:
    torch.manual_seed(0)
    return Net().to(dtype).eval().requires_grad_(False)


def images(count: int = 5, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, 1, 8, 8, dtype=dtype, generator=torch.Generator().manual_seed(1))


def factors(net: nn.Module, seed: int = 0, rank: int = 3, scale: float = 0.7, zero: bool = False) -> dict[str, Factor]:
    """The start A0 of seed 0 with a random B of `seed`."""
    layers, like = choose_layers(net, ()), next(net.parameters())
    generator = torch.Generator().manual_seed(seed)
    start, empty = draw_start(layers, rank, 0), zero_b(layers, rank)
    drawn = {layer: b if zero else torch.randn(b.shape, generator=generator) for layer, b in empty.items()}
    return {layer: Factor(start[layer].to(like), drawn[layer].to(like), scale) for layer in layers}
