"""Which device a run uses."""

from app.domain.errors import Fault, RefusedError


def find_device(name: str) -> str:
    """`cpu`, `cuda` or `cuda:1` where it is there; `auto` is the first CUDA device, else the processor. Raises RefusedError."""
    import torch

    cuda = torch.cuda.device_count()
    known = ["cpu", *(["cuda"] if cuda else []), *(f"cuda:{number}" for number in range(cuda))]
    if name == "auto":
        return "cuda" if cuda else "cpu"
    if name not in known:
        raise RefusedError([Fault("--device", f"{name!r} is not here; there is {', '.join(known)}")])
    return name
