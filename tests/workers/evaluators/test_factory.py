"""Modules from the user's own callables."""

import pytest
import torch

from app.domain.errors import RefusedError
from app.domain.study import FactoryArchitecture
from workers.evaluators.factory import build_factory_network


def written(tmp_path, text):
    path = tmp_path / "net.py"
    path.write_text(text)
    return FactoryArchitecture(str(path), "build")


def refusal(architecture):
    with pytest.raises(RefusedError) as caught:
        build_factory_network(architecture)
    assert [fault.where for fault in caught.value.faults] == ["architecture.factory"]
    return str(caught.value)


class TestFactory:
    def test_a_module_in_evaluation_mode(self, tmp_path):
        text = "from torch import nn\ndef build():\n    return nn.Sequential(nn.Dropout(0.9))\n"
        network = build_factory_network(written(tmp_path, text))
        assert network.run({"inputs": torch.ones(2, 3)}).tolist() == torch.ones(2, 3).tolist()

    def test_named_inputs_are_passed_by_name(self, tmp_path):
        text = "from torch import nn\nclass build(nn.Module):\n    def forward(self, *, left, right):\n        return left - right\n"
        network = build_factory_network(written(tmp_path, text))
        assert network.run({"right": torch.ones(1), "left": torch.full((1,), 3.0)}).tolist() == [2.0]

    def test_neighbours_can_be_imported_and_dataclasses_defined(self, tmp_path):
        (tmp_path / "neighbour_of_net.py").write_text("WIDTH = 5\n")
        imports = "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom torch import nn\n"
        shape = "from neighbour_of_net import WIDTH\n@dataclass\nclass Shape:\n    width: int = WIDTH\n"
        build = "def build():\n    return nn.Linear(Shape().width, 1)\n"
        assert build_factory_network(written(tmp_path, imports + shape + build)).module.in_features == 5

    def test_random_buffers_are_the_same_every_time_and_leave_the_seed_alone(self, tmp_path):
        text = (
            "import torch\nfrom torch import nn\ndef build():\n    m = nn.Module()\n"
            "    m.register_buffer('codes', torch.randn(3), persistent=False)\n    return m\n"
        )
        torch.manual_seed(7)
        first = build_factory_network(written(tmp_path, text)).module.codes
        drawn = torch.rand(1)
        torch.manual_seed(7)
        assert torch.equal(drawn, torch.rand(1))
        assert torch.equal(first, build_factory_network(written(tmp_path, text)).module.codes)

    def test_what_cannot_be_built_is_refused(self, tmp_path):
        assert "no such Python file" in refusal(FactoryArchitecture(str(tmp_path / "none.py"), "build"))
        assert "cannot be imported: SyntaxError" in refusal(written(tmp_path, "def"))
        assert "cannot be imported: ModuleNotFoundError" in refusal(written(tmp_path, "import no_such_module_anywhere"))
        assert "has no callable build" in refusal(written(tmp_path, "build = 3"))
        assert "build() failed: ValueError: no" in refusal(written(tmp_path, "def build():\n    raise ValueError('no')"))
        assert "returned int, not a torch.nn.Module" in refusal(written(tmp_path, "def build():\n    return 3"))
