"""`mergefront doctor` on the parts of the service."""

import re

import pytest

from tests.command_line import mergefront


@pytest.fixture
def doctor(monkeypatch, tmp_path):
    """Its end, with these settings in the environment."""

    def examine(**settings):
        for name, value in {"data": str(tmp_path / "data"), **settings}.items():
            monkeypatch.setenv(f"MERGEFRONT_{name.upper()}", value)
        return mergefront("doctor")

    return examine


def test_is_content_with_what_serve_brings(doctor, tmp_path):
    ended = doctor()
    assert ended.code == 0
    said = re.sub(r"[│\s]", "", ended.out)  # long paths are folded
    assert "embedded" in said and str(tmp_path / "data" / "blobs") in said


def test_finds_what_cannot_be_reached(doctor, s3):
    ended = doctor(
        broker="redis://:hidden@127.0.0.1:9/0", blobs="s3://mine", s3_endpoint="http://127.0.0.1:9", database="postgresql://me:hidden@127.0.0.1:9/x"
    )
    assert ended.code == 1
    assert "not in order: database, broker, blobs" in ended.err
    assert "hidden" not in ended.out + ended.err


def test_finds_a_bucket(doctor, s3):
    ended = doctor(blobs="s3://doctors/place", s3_endpoint=s3)
    assert ended.code == 0
    assert "s3://doctors/place" in ended.out
