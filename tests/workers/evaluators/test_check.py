"""Every fault of what a manifest names, told at once and by key."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from app.domain.study import FactoryArchitecture, ModelSetSpec, SpaceSpec
from app.domain.task import SplitShares
from workers.evaluators.check import check_study


def told(study):
    return [str(fault) for fault in check_study(study)]


def resaved(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def models(study, **changes):
    return replace(study, models=ModelSetSpec(study.models.base, study.models.tuned | changes))


class TestGood:
    def test_a_good_study_has_no_faults(self, digits_study):
        assert told(digits_study) == []

    def test_nothing_is_written(self, digits_study, tmp_path):
        before = sorted(tmp_path.rglob("*.safetensors"))
        told(digits_study)
        assert sorted(tmp_path.rglob("*.safetensors")) == before


class TestModels:
    def test_missing_files(self, digits_study, tmp_path):
        study = models(digits_study, odd=str(tmp_path / "none.safetensors"))
        assert told(study) == [
            f"models.tuned.odd: {tmp_path}/none.safetensors: no such file or directory; "
            "give a .safetensors file or a directory that holds one"
        ]

    def test_a_missing_base_leaves_the_rest_to_be_checked(self, digits_study, with_task, tmp_path):
        study = replace(with_task(digits_study, data="/none"), models=replace(digits_study.models, base=str(tmp_path / "none")))
        faults = told(study)
        assert [fault.split(":")[0] for fault in faults] == ["models.base", "tasks.ten.data"]

    def test_pickles_and_directories_without_weights(self, digits_study, tmp_path):
        (tmp_path / "pickle.bin").write_bytes(b"\x80\x02")
        (tmp_path / "empty").mkdir()
        faults = told(models(digits_study, ten=str(tmp_path / "pickle.bin"), odd=str(tmp_path / "empty")))
        assert "models.tuned.ten" in faults[0] and "pickle" in faults[0]
        assert "models.tuned.odd" in faults[1] and "holds no weights" in faults[1]

    def test_a_truncated_file(self, digits_study, tmp_path):
        whole = (tmp_path / "odd.safetensors").read_bytes()
        (tmp_path / "odd.safetensors").write_bytes(whole[:-4])
        assert [fault.split(":")[0] for fault in told(digits_study)] == ["models.tuned.odd"]

    def test_shapes_and_missing_tensors_all_at_once(self, digits_study, tmp_path):
        def change(tensors):
            del tensors["layers.0.bias"]
            tensors["norm.weight"] = torch.ones(3)

        resaved(tmp_path / "odd.safetensors", change)
        faults = told(digits_study)
        assert any("layers.0.bias: odd has no such tensor" in fault for fault in faults)
        assert any("norm.weight: odd has F32 [3], the base F32 [16]" in fault for fault in faults)

    def test_the_same_model_twice_and_the_base_again(self, digits_study):
        base, ten = digits_study.models.base, digits_study.models.tuned["ten"]
        assert told(models(digits_study, odd=ten)) == ["models.tuned: ten and odd hold the same weights; name each tuned checkpoint once"]
        assert "models.tuned: odd: holds the base's own weights" in told(models(digits_study, odd=base))[0]

    def test_counters_of_training_batches_may_differ(self, digits_study, tmp_path):
        resaved(tmp_path / "odd.safetensors", lambda tensors: tensors["norm.num_batches_tracked"].add_(7))
        assert told(digits_study) == []

    def test_one_tuned_model_only(self, digits_study):
        study = replace(digits_study, models=ModelSetSpec(digits_study.models.base, {"ten": digits_study.models.tuned["ten"]}))
        assert "at least two tuned checkpoints, got 1" in told(study)[0]

    def test_values_that_are_not_finite(self, digits_study, tmp_path):
        def spoil(tensors):
            tensors["layers.0.weight"][0, :3] = torch.tensor([torch.nan, torch.inf, -torch.inf])

        resaved(tmp_path / "odd.safetensors", spoil)
        assert told(digits_study) == ["models.tuned.odd: layers.0.weight: 3 of 1024 values are NaN or infinite"]
        resaved(tmp_path / "base.safetensors", spoil)
        assert "models.base: layers.0.weight: 3 of 1024 values are NaN or infinite" in told(digits_study)

    def test_groups_that_take_no_tensor(self, digits_study):
        faults = told(replace(digits_study, space=SpaceSpec(groups=("nothing",))))
        assert faults[0].startswith("space.groups: ") and "nothing" in faults[0]


class TestArchitecture:
    def test_wrong_architecture_for_the_weights(self, digits_study, tmp_path):
        (tmp_path / "net.py").write_text(
            "from torch import nn\nclass Net(nn.Linear):\n    def __init__(self):\n        super().__init__(64, 16)\n"
        )
        faults = told(digits_study)
        assert faults[0] == "architecture: the base lacks 2 tensors that the module has: weight, bias"
        assert faults[1].startswith("architecture: the module lacks 9 tensors that the base has: ") and "layers.0.bias" in faults[1]

    def test_no_such_file(self, digits_study):
        assert told(replace(digits_study, architecture=FactoryArchitecture("/none.py", "Net"))) == [
            "architecture.factory: no such Python file: /none.py"
        ]


class TestTasks:
    def test_missing_data_in_every_task_that_names_it(self, digits_study):
        study = replace(digits_study, tasks=tuple(replace(task, data="/none.safetensors") for task in digits_study.tasks))
        assert told(study) == ["tasks.ten.data: no such file: /none.safetensors", "tasks.odd.data: no such file: /none.safetensors"]

    def test_data_without_targets(self, digits_study, tmp_path):
        resaved(tmp_path / "ten-data.safetensors", lambda tensors: tensors.pop("targets"))
        assert told(digits_study) == ["tasks.ten.data: no targets, which accuracy needs: add a tensor `targets` or a column `label`"]

    def test_labels_outside_the_head(self, digits_study, with_task):
        study = with_task(digits_study, head=digits_study.tasks[1].head)
        assert told(study) == ["tasks.ten.data: labels 2, 3, 4, 5, 6, 7, 8, 9 lie outside the head of 2 rows (labels 0 to 1)"]

    def test_empty_splits(self, digits_study, with_task):
        assert told(with_task(digits_study, split=SplitShares(0.0001, 0.5))) == [
            "tasks.ten.split.search: leaves no example of 1797: raise this share or give more data"
        ]

    def test_texts_for_a_factory(self, digits_study, with_task, text_data):
        assert "tasks.ten.data: a factory's module reads tensors" in told(with_task(digits_study, data=text_data("t", 2)))[0]

    def test_inputs_on_which_the_module_fails(self, digits_study, tmp_path):
        resaved(tmp_path / "ten-data.safetensors", lambda tensors: tensors.update(inputs=torch.ones(1797, 5)))
        assert "tasks.ten.data: the module fails on the first example: RuntimeError" in told(digits_study)[0]

    @pytest.mark.parametrize(
        ("head", "problem"),
        [
            ("/none.safetensors#ten", "no such file: /none.safetensors"),
            ("{heads}#twelve", "holds no tensor twelve.weight (heads in it: odd, ten)"),
            ("{heads}", "holds no tensor weight"),
            ("{wide}#ten", "reads 17 features, the module gives 16"),
            ("{flat}#ten", "a linear head is a weight [classes, features]"),
            ("{nan}#ten", "holds a NaN or infinity"),
        ],
    )
    def test_heads(self, digits_study, with_task, tmp_path, head, problem):
        files = {"wide": torch.ones(10, 17), "flat": torch.ones(16), "nan": torch.full((10, 16), torch.nan)}
        for name, weight in files.items():
            save_file({"ten.weight": weight}, tmp_path / f"{name}.safetensors")
        paths = {name: str(tmp_path / f"{name}.safetensors") for name in (*files, "heads")}
        faults = told(with_task(digits_study, head=head.format(**paths)))
        assert faults[0].startswith("tasks.ten.head: ") and problem in faults[0]

    def test_classes_from_one_column(self, digits_study, with_task, tmp_path):
        save_file({"weight": torch.ones(1, 16)}, tmp_path / "one.safetensors")
        faults = told(with_task(digits_study, head=str(tmp_path / "one.safetensors")))
        assert "tasks.ten.metric: accuracy needs at least two classes, the outputs have one column" in faults


class TestAllAtOnce:
    def test_faults_of_every_part_are_told_together(self, digits_study, with_task, tmp_path):
        study = with_task(models(digits_study, odd=str(tmp_path / "none")), data="/none.csv", split=SplitShares(0.2, 0.2))
        study = replace(study, architecture=FactoryArchitecture("/none.py", "Net"))
        assert [fault.split(":")[0] for fault in told(study)] == ["models.tuned.odd", "architecture.factory", "tasks.ten.data"]
