import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from checkpoints import write
from checkpoints.combine import Merge
from checkpoints.errors import NotFiniteError, WriteError
from checkpoints.groups import group_tensors, spread_coefficients
from checkpoints.layout import open_layout
from checkpoints.model_set import fit_model_set
from checkpoints.stream import MergedFiles
from checkpoints.write import write_merge


def save_models(root: Path, size: int = 1000, last: float = 1.0) -> None:
    for number, name in enumerate(("base", "a", "b")):
        (root / name).mkdir(parents=True)
        weights = torch.arange(size, dtype=torch.float32) * number
        weights[-1] = last
        save_file({"w": weights}, root / name / "model.safetensors", metadata={"format": "pt"})
        (root / name / "config.json").write_text(f'{{"of": "{name}"}}')


def open_files(root: Path) -> MergedFiles:
    models = fit_model_set(open_layout(root / "base"), {name: open_layout(root / name) for name in ("a", "b")})
    return MergedFiles(Merge(models, spread_coefficients([0.5, 0.25], group_tensors(models.sizes))))


@pytest.fixture
def files(tmp_path):
    save_models(tmp_path / "models")
    return open_files(tmp_path / "models")


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


class TestWrites:
    def test_weights_and_side_files_of_the_base(self, files, out):
        write_merge(files, out / "merged")
        assert sorted(path.name for path in (out / "merged").iterdir()) == ["config.json", "model.safetensors"]
        assert (out / "merged" / "config.json").read_text() == '{"of": "base"}'
        assert (out / "merged" / "model.safetensors").read_bytes() == b"".join(files.files["model.safetensors"].read())
        assert load_file(out / "merged" / "model.safetensors")["w"][:3].tolist() == [0, 1, 2]

    def test_nothing_but_the_target(self, files, out):
        write_merge(files, out / "merged")
        assert [path.name for path in out.iterdir()] == ["merged"]

    def test_directories_on_the_way(self, files, out):
        write_merge(files, out / "deep" / "er" / "merged")
        assert (out / "deep" / "er" / "merged" / "model.safetensors").exists()

    def test_extra_files_that_win_over_the_bases(self, files, out):
        write_merge(files, out / "merged", extra={"README.md": b"# card", "config.json": b"{}", "sub/notes.txt": b"n"})
        read = {name: (out / "merged" / name).read_text() for name in ("README.md", "config.json", "sub/notes.txt")}
        assert read == {"README.md": "# card", "config.json": "{}", "sub/notes.txt": "n"}

    def test_progress_adds_up(self, files, out):
        told = []
        write_merge(files, out / "merged", progress=told.append)
        assert sum(told) == files.files["model.safetensors"].size

    def test_an_empty_directory_is_taken(self, files, out):
        write_merge(files, out)
        assert (out / "model.safetensors").exists()

    def test_a_directory_is_replaced_as_a_whole_when_asked(self, files, out):
        (out / "stale.txt").write_text("old")
        write_merge(files, out, replace=True)
        assert sorted(path.name for path in out.iterdir()) == ["config.json", "model.safetensors"]
        assert sorted(path.name for path in out.parent.iterdir()) == ["models", "out"]

    def test_a_relative_target(self, files, out, monkeypatch):
        monkeypatch.chdir(out)
        write_merge(files, Path("merged"))
        assert (out / "merged" / "model.safetensors").exists()


class TestRefuses:
    def test_a_directory_that_holds_something(self, files, out):
        (out / "mine.txt").write_text("keep")
        with pytest.raises(WriteError, match="exists and is not empty"):
            write_merge(files, out)
        assert [path.name for path in out.iterdir()] == ["mine.txt"]

    def test_a_file_in_the_way(self, files, out):
        (out / "merged").write_text("keep")
        with pytest.raises(WriteError, match="exists and is not empty"):
            write_merge(files, out / "merged")

    def test_a_parent_that_is_a_file(self, files, out):
        (out / "file").write_text("")
        with pytest.raises(WriteError, match="cannot be written"):
            write_merge(files, out / "file" / "merged")

    def test_a_second_merge_to_the_same_place(self, files, out):
        with write._draft(out / "merged"), pytest.raises(WriteError, match="another merge is being written there"):
            write_merge(files, out / "merged")
        write_merge(files, out / "merged")

    def test_more_bytes_than_the_disk_has(self, files, out, monkeypatch):
        monkeypatch.setattr(write.shutil, "disk_usage", lambda path: FreeSpace())
        with pytest.raises(WriteError, match="free some space"):
            write_merge(files, out / "merged")
        assert list(out.iterdir()) == []

    def test_a_nan_that_shows_half_way_leaves_nothing(self, tmp_path, out):
        save_models(tmp_path / "spoilt", size=200_000, last=float("nan"))
        with pytest.raises(NotFiniteError):
            write_merge(open_files(tmp_path / "spoilt"), out / "merged")
        assert list(out.iterdir()) == []

    def test_an_interrupt_leaves_nothing(self, files, out):
        def interrupt(written):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_merge(files, out / "merged", progress=interrupt)
        assert list(out.iterdir()) == []


class FreeSpace:
    free = 100


SCRIPT = """
import resource, signal, sys, time
from pathlib import Path
from checkpoints.errors import WriteError
from checkpoints.write import write_merge
from tests.checkpoints.test_write import open_files

files, out = open_files(Path(sys.argv[1])), Path(sys.argv[2])
"""


def start(script: str, models: Path, out: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SCRIPT + textwrap.dedent(script), str(models), str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def test_a_file_system_that_runs_out_leaves_nothing(tmp_path, out):
    """The kernel itself refuses a write half-way: the limit on file sizes answers as a full disk does, in the middle of a file."""
    save_models(tmp_path / "models", size=1_000_000)
    script = """
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
        try:
            write_merge(files, out)
        except WriteError as error:
            print(error.code, error)
    """
    output, _ = start(script, tmp_path / "models", out / "merged").communicate(timeout=60)
    assert output.startswith("checkpoint.write") and "free some space" in output and "Nothing was left behind" in output
    assert list(out.iterdir()) == []


def test_a_merge_killed_half_way_leaves_nothing_under_the_name_and_the_next_one_cleans_up(tmp_path, out):
    save_models(tmp_path / "models", size=1_000_000)
    script = """
        def stall(written):
            print("writing", flush=True)
            time.sleep(60)
        write_merge(files, out, progress=stall)
    """
    process = start(script, tmp_path / "models", out / "merged")
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (out / "merged").exists()
    assert [path.name for path in out.iterdir()] == [".merged.partial"]
    files = open_files(tmp_path / "models")
    write_merge(files, out / "merged")
    assert [path.name for path in out.iterdir()] == ["merged"]
    assert (out / "merged" / "model.safetensors").stat().st_size == files.files["model.safetensors"].size
