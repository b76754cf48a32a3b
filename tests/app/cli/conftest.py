"""Model sets for the command line, made once a session; tests that change one get their own copy."""

import shutil

import pytest

from tests.command_line import mergefront
from tests.digits_set import write_digits_set


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    """The manifest of a base and two tuned models."""
    return write_digits_set(tmp_path_factory.mktemp("pair"), upright="upright", inverted="inverted")


@pytest.fixture(scope="session")
def trio(tmp_path_factory):
    """The manifest of a base and three tuned models."""
    return write_digits_set(tmp_path_factory.mktemp("trio"), budget=16, upright="upright", inverted="inverted", turned="turned")


@pytest.fixture
def study(pair, tmp_path):
    """A manifest with its model set, to be spoilt."""
    return shutil.copytree(pair.parent, tmp_path / "set") / pair.name


@pytest.fixture(scope="session")
def finished(pair, tmp_path_factory):
    """The directory of a finished run over two tuned models; only to be read."""
    return carried_out(pair, tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture(scope="session")
def finished_trio(trio, tmp_path_factory):
    """The directory of a finished run over three tuned models; only to be read."""
    return carried_out(trio, tmp_path_factory.mktemp("finished") / "run")


def carried_out(manifest, directory):
    ended = mergefront("run", manifest, "--out", directory)
    assert ended.code == 0, ended.err
    return directory
