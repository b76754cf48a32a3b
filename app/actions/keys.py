"""Use cases of API keys."""

import re
from datetime import UTC, datetime

from app.domain.errors import Fault, RefusedError
from app.domain.ids import new_id
from app.domain.key import Key, Scope, digest_secret, new_secret
from app.store.catalog import Catalog

_TENANT = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,63})?")
_LONGEST_NAME = 64


def create_key(catalog: Catalog, tenant: str, scope: Scope, name: str) -> tuple[Key, str]:
    """A key that is valid from now on, and its secret, which is told here and never again. Raises RefusedError."""
    faults = [*_tenant_faults(tenant), *_name_faults(name)]
    if faults:
        raise RefusedError(faults)
    secret = new_secret()
    key = Key(new_id("key"), tenant, scope, digest_secret(secret), datetime.now(UTC), name)
    catalog.add_key(key)
    return key, secret


def _tenant_faults(tenant: str) -> list[Fault]:
    if _TENANT.fullmatch(tenant):
        return []
    return [Fault("--tenant", f"{tenant!r}: letters, digits, '_', '.' and '-', 64 at most, a letter or digit first; or nothing")]


def _name_faults(name: str) -> list[Fault]:
    if len(name) <= _LONGEST_NAME and name.isprintable():
        return []
    return [Fault("--name", f"{name!r}: printable characters, {_LONGEST_NAME} at most")]
