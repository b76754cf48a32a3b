"""Holds the documentation to the program: its commands run, its manifests are read, its make targets exist."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from app.cli.main import app
from app.manifest.read import parse_document, parse_manifest
from tests.command_line import ROOT, mergefront
from tests.digits_set import write_digits_set

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# the others serve until they are stopped, need a server, or have a test of their own: their words are checked
CARRIED_OUT = {"run", "merge", "doctor"}


def blocks(page: Path, language: str) -> Iterator[str]:
    """The fenced blocks of a page in one language."""
    yield from re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[object]:
    """Every command of `program` in a console block: its words behind the program's name."""
    return [
        pytest.param(words[1:], id=f"{page.name}: {' '.join(words)}")
        for page in PAGES
        for block in blocks(page, "console")
        for line in block.replace("\\\n", " ").splitlines()
        if (words := shlex.split(line.removeprefix("$ "), comments=True)) and Path(words[0]).name == program
    ]


def manifests() -> list[object]:
    found = [(page, block) for page in PAGES for block in blocks(page, "yaml") if re.search("^models:", block, re.MULTILINE)]
    return [pytest.param(block, id=f"{page.name} {number}") for number, (page, block) in enumerate(found)]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A manifest with the tasks that the pages speak of."""
    return write_digits_set(tmp_path_factory.mktemp("set"), movie="upright", spam="inverted")


@pytest.fixture(scope="module")
def directory(study, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    assert mergefront("run", study, "--out", run).code == 0
    return run


@pytest.mark.parametrize("words", commands("mergefront"))
def test_commands_run(words, study, directory, tmp_path):
    places = {"STUDY.yaml": study, "DIR": directory, "MERGED": tmp_path / "merged"}
    if words[0] in CARRIED_OUT:
        ended = mergefront(*(places.get(word, word) for word in words))
        assert ended.code == 0, ended.err
        assert ("MERGED" in words) == (tmp_path / "merged").is_dir()
    else:
        assert understood(words)


# later options take the place of earlier ones: the commands run as the pages have them, but soon
SMALL = {
    "surrogates.py": ["--budgets", "7,9", "--seeds", "1", "--pool", "6"],
    "fronts.py": [
        "--methods", "map-auto,bayesian-output,sobol,nsga2,ties,adamerging", "--budgets", "8", "--seeds", "1", "--points", "4",
        "--beside", "sobol@8",
    ],
    "fronts_picture.py": [],
    "suggestion_speed.py": ["--tuned", "2", "--trials", "9", "--tasks", "2", "--examples", "40", "--repeats", "1", "--predictions", "50"],
    "service_load.py": ["--seconds", "0.1", "--rounds", "1"],
    "nested_cost.py": ["--published", "12", "--trials", "4", "--preferences", "1"],
}
RECORD = {"study": "tiny", "method": "map-auto", "budget": 8, "seed": 0, "hypervolume": 0.1, "preference_regret": 0.02}


@pytest.mark.parametrize("words", commands("python"))
def test_benchmarks_run(words, study, tmp_path):
    script, *rest = words
    (tmp_path / "RECORDS.json").write_text(json.dumps([RECORD]))
    places = {"STUDY.yaml": study}
    command = [sys.executable, ROOT / script, *(places.get(word, word) for word in rest), *SMALL[Path(script).name]]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    promised = [rest[place + 1] for place, word in enumerate(rest) if word in ("--json", "--out")]
    assert [name for name in promised if not (tmp_path / name).is_file()] == []


def understood(words, command=None, context=None):
    """Whether the program knows the command and takes its options; a usage error comes out otherwise."""
    command = command or typer.main.get_command(app)
    inner = command.make_context(command.name, list(words), parent=context)
    if hasattr(command, "resolve_command"):
        _, chosen, rest = command.resolve_command(inner, list(words))
        return understood(rest, chosen, inner)
    return True


@pytest.mark.parametrize("words", [["serve", "--prot", "1"], ["serve", "--port", "x"], ["sreve"], ["db", "downgrade"]])
def test_a_command_that_is_not_the_programs_would_be_found_out(words):
    with pytest.raises(Exception, match="(?i)no such|valid integer"):
        understood(words)


@pytest.mark.parametrize("text", manifests())
def test_manifests_are_read(text):
    spec, faults = parse_manifest(parse_document(text), ROOT)
    assert spec is not None and faults == []


@pytest.mark.parametrize("page", ["README.md", "docs/manifest.md"])
def test_the_manifest_is_shown_where_people_look_for_it(page):
    assert any("models:" in block for block in blocks(ROOT / page, "yaml"))


@pytest.mark.parametrize("words", commands("make"))
def test_make_targets_exist(words):
    targets = re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {word for word in words if "=" not in word} <= set(targets)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
