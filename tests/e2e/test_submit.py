"""`mergefront submit` against a service of real processes."""

import json
import os
import shutil
import urllib.request

import pytest
import yaml

from tests.command_line import finish, mergefront, start
from tests.e2e.serving import eventually


@pytest.fixture(scope="module")
def service(serving, model_set):
    return serving(MERGEFRONT_FACTORIES=f"{model_set.parent}/net.py:Net")


@pytest.fixture
def manifest(model_set, tmp_path):
    """The same study, named by relative paths, in a directory that the service may not read."""
    for file in model_set.parent.glob("*.safetensors"):
        shutil.copy(file, tmp_path)
    changed = tmp_path / "study.yaml"
    code = os.path.relpath(model_set.parent / "net.py", tmp_path)
    changed.write_text(model_set.read_text().replace(f"{model_set.parent}/", "").replace("net.py", code))
    return changed


def server(service):
    return f"http://127.0.0.1:{service.port}"


def post(service, path):
    with urllib.request.urlopen(urllib.request.Request(server(service) + path, b"", method="POST"), timeout=30) as answer:
        return json.load(answer)


class TestSubmit:
    def test_waits_for_the_end_and_is_carried_out_once(self, service, manifest):
        ended = mergefront("submit", manifest, "--server", server(service), "--wait")
        assert ended.code == 0, ended.err
        study = ended.out.strip()
        assert service.get(f"/v1/studies/{study}")["status"] == "finished"
        again = mergefront("submit", manifest, "--server", server(service))
        assert (again.code, again.out.strip()) == (0, study)
        assert len(service.get("/v1/checkpoints")["items"]) == 3

    def test_a_cancelled_study_is_told_by_the_exit_code_and_made_anew(self, service, manifest, mood):
        mood.write_text("wait")
        words = ("submit", manifest, "--server", server(service), "--set", "method.seed=1")
        waiting = start(*words, "--wait")
        study = eventually(lambda: [one for one in service.get("/v1/studies")["items"] if one["status"] == "running"], "it runs")[0]["id"]
        post(service, f"/v1/studies/{study}/cancel")
        mood.unlink()
        ended = finish(waiting)
        assert (ended.code, ended.out.strip()) == (3, study)
        fresh = mergefront(*words).out.strip()
        assert fresh != study
        post(service, f"/v1/studies/{fresh}/cancel")

    def test_a_factory_that_the_operator_has_not_allowed_is_refused(self, service, manifest):
        ended = mergefront("submit", manifest, "--server", server(service), "--set", "architecture.factory=net.py:Other")
        assert ended.code == 2
        assert "architecture.factory" in ended.err and "MERGEFRONT_FACTORIES" in ended.err
        assert f"{manifest.parent}/net.py:Other" in "".join(ended.err.split())

    def test_everything_wrong_here_is_told_before_anything_is_sent(self, service, manifest):
        changed = yaml.safe_load(manifest.read_text())
        changed["models"]["base"] = "gone.safetensors"
        changed["tasks"]["upright"]["data"] = "gone.csv"
        manifest.write_text(yaml.safe_dump(changed))
        ended = mergefront("submit", manifest, "--server", "http://127.0.0.1:9")
        assert ended.code == 2
        assert "models.base" in ended.err and "tasks.upright.data" in ended.err

    def test_a_service_that_is_not_there_is_a_failure(self, manifest):
        ended = mergefront("submit", manifest, "--server", "http://127.0.0.1:9")
        assert ended.code == 1 and "is a service running there" in ended.err
