"""Lines of the log, read back."""

import json
import logging

import pytest

from app.journal import JsonLines, start_journal

STUDY, TRIAL = f"study_{'0' * 26}", f"trial_{'1' * 26}"


def line_of(message, *arguments, exc_info=None):
    record = logging.LogRecord("workers.engine", logging.WARNING, "f.py", 1, message, arguments, exc_info)
    return json.loads(JsonLines().format(record))


def test_a_line_says_when_how_grave_and_about_what():
    line = line_of("trial %s of %s: the lease is lost", TRIAL, STUDY)
    assert (line["level"], line["logger"], line["study"], line["trial"]) == ("warning", "workers.engine", STUDY, TRIAL)
    assert line["at"].endswith("+00:00")


def test_a_line_about_neither_names_neither():
    assert {"study", "trial", "error"}.isdisjoint(line_of('ready\n"now"'))


def test_a_line_holds_the_traceback():
    try:
        raise ValueError("what broke")
    except ValueError as error:
        line = line_of("failed", exc_info=(type(error), error, error.__traceback__))
    assert "what broke" in line["error"]


@pytest.fixture
def root():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:], root.level = handlers, level


def test_the_journal_goes_to_standard_error_from_its_level_on(root, capsys):
    start_journal("warning")
    logging.getLogger("some").info("too fine")
    logging.getLogger("some").error("heard")
    written = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["message"] for line in written] == ["heard"]
