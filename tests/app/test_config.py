"""Settings out of the environment, and a whole application on them."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from app.config import Settings, is_loopback
from app.jobs.inline import InlineJobs
from app.main import create_app


def test_lists_are_written_with_commas(monkeypatch, tmp_path):
    monkeypatch.setenv("MERGEFRONT_DIRECTORIES", f"{tmp_path}/a, {tmp_path}/b,")
    monkeypatch.setenv("MERGEFRONT_FACTORIES", "/srv/net.py:Net")
    settings = Settings()
    assert settings.directories == (tmp_path / "a", tmp_path / "b")
    assert settings.factories == ("/srv/net.py:Net",)


def test_paths_are_absolute_and_their_links_resolved(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    monkeypatch.chdir(tmp_path)
    assert Settings(data="link").data == tmp_path.resolve() / "there"
    assert Settings().data == Path(tmp_path.resolve() / "var")


NONSENSE = [("PORT", "x"), ("PORT", "70000"), ("WORKERS", "0"), ("LOG_LEVEL", "loud"), ("QUOTA_BYTES", "-1")]


@pytest.mark.parametrize(("name", "value"), NONSENSE)
def test_nonsense_is_refused(monkeypatch, name, value):
    monkeypatch.setenv(f"MERGEFRONT_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


@pytest.mark.parametrize(
    ("host", "answer"),
    [("localhost", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("0.0.0.0", False), ("::", False), ("example.org", False)],
)
def test_loopback_is_what_only_this_machine_reaches(host, answer):
    assert is_loopback(host) is answer


def test_an_application_on_its_own_directory_is_ready(tmp_path):
    app = create_app(Settings(data=tmp_path / "new"), InlineJobs())
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/readyz").json() == {"ready": True, "missing": {}}
        assert client.get("/v1/studies").json() == {"items": [], "next": None}
    app.state.service.store.close()
    app.state.service.catalog.close()
