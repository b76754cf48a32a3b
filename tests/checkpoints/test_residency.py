import torch

from checkpoints.residency import ResidencyPlan, format_bytes, free_bytes, plan_residency

CPU = torch.device("cpu")


class TestPlan:
    def test_resident_up_to_the_budget(self):
        assert plan_residency(CPU, 40, 60, budget=100).mode == "resident"
        assert plan_residency(CPU, 40, 61, budget=100).mode == "streamed"

    def test_default_budget_is_a_share_of_free_memory(self):
        assert plan_residency(CPU, 1, 1).mode == "resident"
        assert plan_residency(CPU, 1, 1 << 60).mode == "streamed"
        assert free_bytes(CPU) > 1 << 20

    def test_line_names_everything(self):
        line = str(ResidencyPlan("streamed", "cuda:1", 2_000_000, 9_400_000_000, 640))
        assert line == (
            "streamed on cuda:1: merged weights 2.0 MB, base and task vectors 9.4 GB read from their files at every trial, budget 640 B"
        )


def test_bytes_for_people():
    assert [format_bytes(count) for count in (0, 999, 1000, 1_234_567, 5 * 10**15)] == ["0 B", "999 B", "1.0 kB", "1.2 MB", "5000.0 TB"]
