# SPDX-License-Identifier: Apache-2.0
"""The command line `twinning`: every service, the demo, and the engine without a server.

What a command needs is imported inside it, so that `--help` answers at once.
"""

import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import exporting, importing, keys, offline, webhooks
from services.cli.storing import answering, make_folder
from twinning.errors import TwinningError, WrongSetting

if TYPE_CHECKING:
    from twinning.settings import Settings

app = typer.Typer(
    name="twinning",
    help="Partners for learning cities across Asia and Europe, and the reasons why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(keys.app, name="keys")
app.add_typer(webhooks.app, name="webhooks")
app.command()(offline.match)
app.command()(offline.search)
app.command(name="import")(importing.import_files)
app.command()(exporting.export)

Port = Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")]


def _settings() -> "Settings":
    """Read the settings; the library that checks them takes a while to import."""
    from services import logs
    from twinning.settings import Settings

    settings = Settings.load()
    logs.configure(settings)
    return settings


@app.command()
def up(
    port: Port = 8000,
    data: Annotated[
        Path | None,
        typer.Option(help="The folder that keeps everything; without it TWINNING_DATA_DIR, or `data` here."),
    ] = None,
) -> None:
    """Run everything on this machine, with nothing installed, until Ctrl-C."""
    from services.cli.system import run

    raise typer.Exit(run(_settings(), data, port))


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running at the end, until Ctrl-C.")] = False,
) -> None:
    """Show the whole way on real learning cities: needs, practices, suggestions, signed webhooks."""
    from services.cli.demo import run

    raise typer.Exit(run(keep=keep))


@app.command()
def api(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Port = 8000,
) -> None:
    """Run the HTTP API alone: a part of a cluster."""
    from services.api.app import application
    from services.api.serving import server
    from twinning import clocks, keyring

    # Refused here, a wrong setting is one line and not the end of a server that was half started.
    settings = _settings()
    keyring.check(settings)
    clocks.check(settings)
    # The server raises the signal that has ended it once more; told to end, it has done so and not failed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with suppress(KeyboardInterrupt):
        server(application(), host, port).run()


@app.command()
def worker() -> None:
    """Run a matching worker alone: a part of a cluster."""
    from services.matcher.worker import run

    raise typer.Exit(run(_settings()))


@app.command()
def dispatcher() -> None:
    """Run a delivery worker alone: a part of a cluster."""
    from services.dispatcher.worker import run

    raise typer.Exit(run(_settings()))


@app.command()
def scheduler() -> None:
    """Run the scheduler alone, which rings the matching workers' bell each second: a part of a cluster."""
    from services.tasks import make_app

    # The schedule file is not needed: everything that must be remembered is in the database.
    make_app(_settings()).Beat(loglevel="WARNING", quiet=True).run()


@app.command()
def migrate() -> None:
    """Bring the database's tables up to date; safe to run more than once and from several places.

    Where there is a key for secrets, those that were stored without one, or under an older one, are sealed.
    """
    from twinning import keyring
    from twinning.migrating import migrate as bring_up_to_date

    settings = _settings()
    make_folder(settings.database)
    with answering(settings.database):
        bring_up_to_date(settings.database)
        keyring.check(settings, seal=True)


@app.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document of the HTTP API, webhooks included."""
    import json

    from services.api.app import make_app

    print(json.dumps(make_app(_settings()).openapi(), indent=2, ensure_ascii=False))


def main() -> None:
    """Run a command; a wrong setting or a refused request is one line on standard error."""
    try:
        app()
    except WrongSetting as error:
        print(f"twinning: {error}", file=sys.stderr)
        sys.exit(2)
    except TwinningError as error:
        print(f"twinning: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
