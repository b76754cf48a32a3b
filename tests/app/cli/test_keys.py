"""`mergefront key`: made, listed, revoked, and what the service makes of them."""

import re

import pytest

from app.domain.errors import NotFoundError
from app.domain.key import Scope, digest_secret
from app.store.engine import sqlite_url
from app.store.sql_catalog import open_catalog
from tests.command_line import mergefront


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def create(data, *words):
    ended = mergefront("key", "create", "--data", data, *words)
    assert ended.code == 0, ended.err
    return ended.out.strip()


class TestCreate:
    def test_its_secret_opens_what_was_asked_for(self, data):
        secret = create(data, "--scope", "read", "--tenant", "acme", "--name", "nightly job")
        key = open_catalog(sqlite_url(data / "records.sqlite")).key(digest_secret(secret))
        assert (key.scope, key.tenant, key.name) == (Scope.READ, "acme", "nightly job")

    def test_standard_output_is_the_secret_alone(self, data):
        assert re.fullmatch(r"mf_[\w-]{43}", create(data))

    def test_no_file_holds_the_secret(self, data):
        secret = create(data).encode()
        assert not any(secret in file.read_bytes() for file in data.rglob("*") if file.is_file())

    @pytest.mark.parametrize(("option", "value"), [("--tenant", "a b"), ("--tenant", "x" * 65), ("--name", "a\nb"), ("--name", "x" * 65)])
    def test_names_that_would_confuse_are_refused(self, data, option, value):
        ended = mergefront("key", "create", "--data", data, option, value)
        assert ended.code == 2 and option in ended.err

    def test_an_unknown_scope_is_refused(self, data):
        assert mergefront("key", "create", "--data", data, "--scope", "root").code == 2


class TestList:
    def test_a_line_each_without_secrets(self, data):
        secrets = [create(data, "--tenant", tenant, "--name", "ci") for tenant in ("acme", "other")]
        ended = mergefront("key", "list", "--data", data)
        assert [line.split()[1:3] for line in ended.out.splitlines()] == [["write", "acme"], ["write", "other"]]
        assert not any(secret in ended.out for secret in secrets)


class TestRevoke:
    def test_it_is_no_key_any_more(self, data):
        secret = create(data)
        key_id = mergefront("key", "list", "--data", data).out.split()[0]
        assert mergefront("key", "revoke", key_id, "--data", data).code == 0
        with pytest.raises(NotFoundError):
            open_catalog(sqlite_url(data / "records.sqlite")).key(digest_secret(secret))
        assert mergefront("key", "list", "--data", data).out == ""

    def test_an_unknown_one_is_told(self, data):
        ended = mergefront("key", "revoke", "key_0", "--data", data)
        assert ended.code == 2 and "no key key_0" in ended.err
