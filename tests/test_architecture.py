"""Holds the code to docs/architecture.md: who may import whom, how long a file may be, which names are not used."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("app", "workers", "surrogate", "checkpoints")
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc", "types", "logging", "queue", "base"}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_import_contracts_hold() -> None:
    linter = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--config", ROOT / ".importlinter", "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )
    assert linter.returncode == 0, linter.stdout + linter.stderr


def test_domain_imports_the_standard_library_only() -> None:
    strangers = {
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources("app/domain")
        for module in imported_modules(path)
        if module.split(".")[0] not in sys.stdlib_module_names and not module.startswith("app.domain")
    }
    assert not strangers


def test_files_stay_below_300_lines() -> None:
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
               for path in sources(*PACKAGES, "tests", "benchmarks")}
    assert lengths, "no sources found"
    assert {name: length for name, length in lengths.items() if length >= 300} == {}


def test_functions_stay_short() -> None:
    lengths = sorted(
        node.end_lineno - node.lineno + 1
        for path in sources(*PACKAGES)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    )
    assert lengths[len(lengths) // 2] <= 11
    assert lengths[-1] <= 60


def test_modules_have_names_that_say_what_they_hold() -> None:
    vague = {path for path in sources(*PACKAGES) if VAGUE_NAMES & {path.stem, path.parent.name}}
    assert not vague


def test_only_settings_read_the_environment() -> None:
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in sources(*PACKAGES)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    }
    assert readers <= {"app/config.py"}


@pytest.mark.parametrize("name", ["pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"])
def test_nothing_unpickles(name: str) -> None:
    users = [path for path in sources(*PACKAGES) for module in imported_modules(path) if module.split(".")[0] == name]
    assert not users
