"""`mergefront key`: who may call the service."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.domain.key import Scope

if TYPE_CHECKING:
    from app.store.catalog import Catalog

Data = Annotated[Path | None, typer.Option(help="Directory of the service's data.", show_default="var")]

keys = typer.Typer(help="The API keys of the service.", no_args_is_help=True)


@keys.command()
def create(
    scope: Annotated[Scope, typer.Option(help="read: look; write: also create and change; admin: everything.")] = Scope.WRITE,
    tenant: Annotated[
        str, typer.Option(help="Whose things it opens; keys of one tenant see the same.", show_default="that of a service without keys")
    ] = "",
    name: Annotated[str, typer.Option(help="What you know it by.", show_default=False)] = "",
    data: Data = None,
) -> None:
    """Make a key. Its secret, the only line on standard output, is shown this once."""
    from app.actions.keys import create_key
    from app.cli.console import err

    with _opened(data) as catalog:
        key, secret = create_key(catalog, tenant, scope, name)
    err.print(f"{key.id}: keep its secret, which nobody can show you again")
    typer.echo(secret)


@keys.command("list")
def list_keys(data: Data = None) -> None:
    """Show every key, a line each: id, scope, tenant, when it was made, name. Secrets are not kept."""
    with _opened(data) as catalog:
        for key in catalog.keys():
            typer.echo(f"{key.id}  {key.scope:<5}  {key.tenant or '-'}  {key.created:%Y-%m-%dT%H:%M:%SZ}  {key.name or '-'}")


@keys.command()
def revoke(key: Annotated[str, typer.Argument(help="The key's id.", show_default=False)], data: Data = None) -> None:
    """Remove a key; a running service takes it for a few seconds more."""
    with _opened(data) as catalog:
        catalog.remove_key(key)
    typer.echo(f"{key} is revoked")


@contextmanager
def _opened(data: Path | None) -> Iterator["Catalog"]:
    from app.cli.service import settings_of
    from app.store.sql import open_store
    from app.store.sql_catalog import open_catalog

    settings = settings_of(data=data)
    settings.data.mkdir(parents=True, exist_ok=True)
    open_store(settings.database_url).close()
    catalog = open_catalog(settings.database_url)
    try:
        yield catalog
    finally:
        catalog.close()
