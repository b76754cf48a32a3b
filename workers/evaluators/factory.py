"""Architecture `factory`: a Python callable of the user's that returns the module."""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from app.domain.errors import Fault, RefusedError
from app.domain.study import FactoryArchitecture
from workers.evaluators.network import LONE, Inputs, Network

WHERE = "architecture.factory"


def build_factory_network(architecture: FactoryArchitecture) -> Network:
    """Call the factory. Its own random numbers are seeded, so that buffers that no checkpoint holds are the same in every process.

    Raises RefusedError: no such file, a file that fails, no such callable, one that fails or returns no module.
    """
    build = _find(architecture)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = build()
    except Exception as error:
        raise _refused(f"{_shown(architecture)}() failed: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise _refused(f"{_shown(architecture)}() returned {type(module).__name__}, not a torch.nn.Module")
    network: nn.Module = module.eval().requires_grad_(False)
    return Network(network, lambda inputs: _run(network, inputs), "features")


def _run(module: nn.Module, inputs: Inputs) -> Tensor:
    outputs: Tensor = module(inputs[LONE]) if inputs.keys() == {LONE} else module(**inputs)
    return outputs


def _find(architecture: FactoryArchitecture) -> Callable[[], object]:
    found = getattr(_load(architecture), architecture.callable, None)
    if not callable(found):
        raise _refused(f"{architecture.file} has no callable {architecture.callable}")
    return found  # type: ignore[no-any-return]


def _load(architecture: FactoryArchitecture) -> ModuleType:
    path = Path(architecture.file)
    if path.suffix != ".py" or not path.is_file():
        raise _refused(f"no such Python file: {path}")
    try:
        return _load_file(path)
    except Exception as error:
        raise _refused(f"{architecture.file} cannot be imported: {type(error).__name__}: {error}") from error


def _load_file(path: Path) -> ModuleType:
    # a name of its own for every file, registered: dataclasses look their module up
    name = f"mergefront_factory_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None and specification.loader is not None  # always so for a .py file
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    with _neighbours(path.resolve().parent):
        specification.loader.exec_module(module)
    return module


@contextmanager
def _neighbours(directory: Path) -> Iterator[None]:
    """Files beside the factory's can be imported by it."""
    sys.path.insert(0, str(directory))
    try:
        yield
    finally:
        sys.path.remove(str(directory))


def _shown(architecture: FactoryArchitecture) -> str:
    return f"{architecture.file}:{architecture.callable}"


def _refused(problem: str) -> RefusedError:
    return RefusedError([Fault(WHERE, problem)])
