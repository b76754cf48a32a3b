"""Virtual merges of tangent adapters: one adapter, computed when it is read."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from app.actions.merge_files import merge_files, open_ingredients
from app.domain.merge import Merge
from app.domain.study import FactoryArchitecture, ModelSetSpec, Study, StudySpec, StudyStatus, TransformSpec
from app.domain.task import SplitShares, TaskSpec
from checkpoints.errors import ExportError
from checkpoints.linearised import merge_linearised, read_linearised
from checkpoints.pairing import Pairing
from tests.tangent_set import write_tangents

BORN = datetime(2026, 1, 1, tzinfo=UTC)
MERGE = Merge("merge_1", "", "study_1", (0.4, 0.7), "digest", BORN)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 4), nn.Tanh())
    save_file(network.state_dict(), tmp_path / "base.safetensors")
    tuned = write_tangents(network, tmp_path / "base.safetensors", tmp_path, ("one", "two"))
    models = ModelSetSpec(str(tmp_path / "base.safetensors"), tuned)
    tasks = (TaskSpec("one", "one.csv", "accuracy", SplitShares()),)
    return Study("study_1", StudySpec("small", models, FactoryArchitecture("net.py", "Net"), tasks), StudyStatus.FINISHED, BORN, BORN)


def contents(study: Study, whole: bool = False) -> dict[str, bytes]:
    files = merge_files(open_ingredients(study, study.spec.models, Pairing()), study, MERGE, whole)
    return {name: b"".join(bytes(step()) for step in file.steps(0, file.size)) for name, file in files.items()}


class TestTangentMerges:
    def test_are_one_adapter_of_the_hubs_base(self, study: Study) -> None:
        adapters = {name: read_linearised(Path(path)) for name, path in study.spec.models.tuned.items()}
        expected = replace(merge_linearised(adapters, (0.4, 0.7)), base="study_1/base").files()
        found = contents(study)
        assert {name: found[name] for name in expected} == expected
        assert found.keys() == {*expected, "README.md"}

    def test_say_on_their_card_how_they_are_loaded(self, study: Study) -> None:
        assert b"load_tangent(network.eval(), directory)" in contents(study)["README.md"]

    def test_have_no_weights_in_full(self, study: Study) -> None:
        with pytest.raises(ExportError, match="ask for the adapter"):
            contents(study, whole=True)

    def test_have_no_transform(self, study: Study) -> None:
        trimmed = replace(study, spec=replace(study.spec, transform=TransformSpec("ties", density=0.2)))
        with pytest.raises(ExportError, match="transform none"):
            contents(trimmed)
