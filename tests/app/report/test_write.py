"""Writing a run: all five files, each whole or not at all."""

import errno
import json
import os

import pytest

from app.domain.errors import UnavailableError
from app.report.write import run_files, write_run

NAMES = {"front.json", "front.csv", "trials.csv", "front.png", "report.html"}


@pytest.fixture(scope="module")
def run(make_run):
    return make_run(("a", "b"), budget=8, points=6, verify=2)


class TestWriting:
    def test_all_five_and_nothing_else(self, run, tmp_path):
        write_run(tmp_path / "runs" / "one", run.study, run.trials, run.front)
        assert {path.name for path in (tmp_path / "runs" / "one").iterdir()} == NAMES

    def test_what_was_there_is_replaced(self, run, tmp_path):
        (tmp_path / "front.json").write_text("old")
        write_run(tmp_path, run.study, run.trials, run.front)
        assert json.loads((tmp_path / "front.json").read_text("utf-8"))["study"]["id"] == run.study.id
        assert f"mergefront merge {tmp_path} --at" in (tmp_path / "report.html").read_text("utf-8")

    def test_the_same_run_gives_the_same_bytes(self, run):
        first, second = (run_files(run.study, run.trials, run.front, "here") for _ in range(2))
        assert first == second and set(first) == NAMES and list(first)[-1] == "front.json"

    def test_a_place_that_cannot_be_written(self, run, tmp_path):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(UnavailableError, match="file"):
            write_run(tmp_path / "file", run.study, run.trials, run.front)

    def test_a_full_disk_leaves_the_old_file_and_no_half_one(self, run, tmp_path, monkeypatch):
        (tmp_path / "trials.csv").write_text("old")

        def full(handle):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UnavailableError, match="No space left"):
            write_run(tmp_path, run.study, run.trials, run.front)
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"trials.csv": "old"}
