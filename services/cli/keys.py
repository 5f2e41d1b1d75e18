# SPDX-License-Identifier: Apache-2.0
"""Making, listing and ending API keys where the database is: how the first staff key comes into the world."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from services.cli.storing import answering, must_have_folder
from twinning.errors import NotFound, Unready
from twinning.terms import Role

if TYPE_CHECKING:
    from sqlmodel import Session

# The options that are called otherwise than the fields of a key.
OPTIONS: Final = {"countries": "country", "city_id": "city-id", "expires_at": "expires-at"}
WIDEST: Final = 10_000

app = typer.Typer(no_args_is_help=True, help="Make, list and end API keys.")


@contextmanager
def _session() -> Iterator["Session"]:
    """Open the configured database for one transaction."""
    from twinning import audit
    from twinning.database import Database
    from twinning.migrating import has_tables
    from twinning.settings import Settings

    url = Settings.load().database
    must_have_folder(url)
    database = Database(url)
    try:
        with answering(url):
            if not has_tables(database):
                raise Unready("The database has no tables yet; run `twinning migrate` first.")
            with database.transaction() as session:
                # Who may write to the database may do all that staff may.
                audit.act_for(session, audit.Actor(None, "command line", Role.STAFF))
                yield session
    finally:
        database.close()


@app.command()
def create(
    role: Annotated[Role, typer.Option(help="What its bearer is.")],
    name: Annotated[str, typer.Option(help="Who bears it, for your own list.")],
    country: Annotated[
        list[str] | None, typer.Option(help="A coordinator's country; may be repeated.")
    ] = None,
    city_id: Annotated[str | None, typer.Option(help="A city key's city.")] = None,
    expires_at: Annotated[
        str | None, typer.Option(help="When it ends, such as 2027-01-31T00:00:00Z.")
    ] = None,
    replaces: Annotated[
        str | None, typer.Option(help="The id of the key that it follows; revoke that one afterwards.")
    ] = None,
) -> None:
    """Make a key and print it, this once."""
    from pydantic import ValidationError

    from twinning import audit, cities, handover, keys

    try:
        wanted = keys.ApiKeyCreate(
            role=role,
            name=name,
            countries=country or [],
            city_id=city_id,
            expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
            replaces=replaces,
        )
    except ValidationError as error:
        raise typer.BadParameter("; ".join(map(_told, error.errors()))) from None
    except ValueError as error:
        raise typer.BadParameter(f"--expires-at: {error}") from None
    with _session() as session:
        if city_id is not None:
            try:
                cities.get(session, city_id)
            except NotFound:
                raise typer.BadParameter(f"--city-id: there is no city with the id {city_id}") from None
        row, key = keys.create(session, wanted)
        if replaces is not None:
            handover.hand_over(session, replaces, row)
        audit.note(session, "api_key.made", row.id, city_id=row.city_id, fields=wanted.model_fields_set)
    print(key)


def _told(flaw: Mapping[str, Any]) -> str:
    """Say what is wrong with a key, by the option that it came from."""
    place = (*flaw["loc"], *flaw.get("ctx", {}).get("at", ()))
    option = f"--{OPTIONS.get(place[0], place[0])}: " if place else ""
    return option + str(flaw["msg"]).removeprefix("Value error, ")


@app.command(name="list")
def show() -> None:
    """List the keys that are good now; never the keys themselves."""
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    from twinning import keys
    from twinning.database import new_id

    # An id is whole on the narrowest terminal, too: `revoke` takes no less.
    whole = Column("id", no_wrap=True, min_width=len(new_id()))
    table = Table(whole, "name", "role", "for", "expires", "last used", box=None)
    with _session() as session:
        for row in keys.live(session):
            scope = ", ".join(row.countries) or row.city_id or ""
            moments = [f"{at:%Y-%m-%d %H:%M}" if at else "never" for at in (row.expires_at, row.last_used_at)]
            table.add_row(*map(Text, (row.id, row.name, row.role, scope, *moments)))
    console = Console()
    if not console.is_terminal:
        # A program reads a line for each key, however long it is.
        wide = console.options.update(width=WIDEST)
        console.width = max(console.width, console.measure(table, options=wide).maximum)
    console.print(table, crop=False)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="The key's id, from `twinning keys list`.")]) -> None:
    """End a key at once."""
    from twinning import audit, handover, keys

    with _session() as session:
        row = session.get(keys.ApiKey, key_id)
        if row is None or row.revoked_at is not None:
            raise NotFound(f"There is no live key with the id {key_id}; `twinning keys list` names them.")
        handover.end(session, row)
        audit.note(session, "api_key.revoked", row.id, city_id=row.city_id)
