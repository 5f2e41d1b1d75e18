# SPDX-License-Identifier: Apache-2.0
"""Where a command finds the house that it talks to, and the key with which it asks."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from services.cli.client import Client

KEY_VARIABLE = "ASEM_KEY"

Url = Annotated[
    str | None,
    typer.Option(
        help="The address of the house, which is one installation of this service; without it that of "
        "TWINNING_PUBLIC_URL, or of this machine."
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        envvar=KEY_VARIABLE,
        help="The API key to ask with; without it that of the first staff, kept in the data folder.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        help="The data folder whose staff.key to use; without it TWINNING_DATA_DIR, or `data` here."
    ),
]


def reach(url: str | None, key: str | None, data: Path | None) -> Client:
    """Give a client for the house that was named, or for the one on this machine."""
    from services.cli.system import KEY_FILE
    from twinning.settings import Settings

    settings = Settings.load()
    address = (url or settings.public_url).rstrip("/")
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise typer.BadParameter(f"--url {address}: expected http://host or https://host")
    path = (data or settings.data_dir).absolute() / KEY_FILE
    if key is None:
        try:
            key = path.read_text(encoding="ascii")
        except OSError as error:
            raise typer.BadParameter(
                f"there is no key: {path}: {error.strerror}; give one with --key or in {KEY_VARIABLE}"
            ) from None
    return Client(address, key.strip())
