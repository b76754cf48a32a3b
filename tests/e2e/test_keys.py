"""A service that others can reach: closed until there is a key, open to whoever has one, closed to whoever had one."""

import subprocess
import urllib.error
import urllib.request

import pytest

from tests.command_line import mergefront
from tests.e2e.serving import PATIENCE, Serving, eventually


class Reachable(Serving):
    """A service at every address of this machine."""

    def command(self):
        return [*super().command(), "--host", "0.0.0.0"]


@pytest.fixture
def service(tmp_path):
    made = Reachable(tmp_path / "data", {"MERGEFRONT_SWEEP_SECONDS": "1"}, port=0)
    yield made
    if made.process is not None:
        made.end()


def status(service, secret=None):
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    request = urllib.request.Request(f"http://127.0.0.1:{service.port}/v1/studies", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_it_opens_with_the_first_key_and_to_keys_alone(service):
    refused = subprocess.run(service.command(), capture_output=True, text=True, timeout=PATIENCE)
    assert refused.returncode == 2 and "mergefront key create" in refused.stderr
    secret = mergefront("key", "create", "--data", service.data).out.strip()
    service.start()
    assert (status(service), status(service, "mf_guessed"), status(service, secret)) == (401, 401, 200)
    key_id = mergefront("key", "list", "--data", service.data).out.split()[0]
    assert mergefront("key", "revoke", key_id, "--data", service.data).code == 0
    eventually(lambda: status(service, secret) == 401, "the revoked key opens nothing", seconds=30)
