# SPDX-License-Identifier: Apache-2.0
"""Runs a command of ours with one thing changed, for faults that no signal from outside can time.

`python launching.py CHANGE COMMAND …`: what is changed is changed in this process alone, before the shipped
command starts, so that the shipped code needs no door for tests.
"""

import itertools
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Column, String


def dies_before_the_bell() -> None:
    """End at every so many-th commit of `EVERY`, before its bell is rung and its answer sent."""
    from services.doorbell import Doorbell

    every, rung = int(os.environ["EVERY"]), itertools.count(1)
    ring = Doorbell.ring

    def rings_or_dies(self: Doorbell, bell: Any) -> None:
        if next(rung) % every == 0:
            os._exit(9)
        ring(self, bell)

    Doorbell.ring = rings_or_dies  # type: ignore[method-assign]


def looks_up_in_a_table() -> None:
    """Look names up in the JSON of `NAMES`, each with its answers one after another, the last for ever.

    Every look-up and every socket that could leave this machine is a line in the file `SEEN`.
    """
    names: dict[str, list[list[str]]] = json.loads(Path(os.environ["NAMES"]).read_text("utf-8"))
    seen = Path(os.environ["SEEN"])

    def note(line: str) -> None:
        with seen.open("a") as file:
            file.write(f"{line}\n")

    def from_table(host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        note(f"lookup {host}")
        answers = names[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.__new__" and arguments[1] in {socket.AF_INET, socket.AF_INET6}:
            note("socket")

    socket.getaddrinfo = from_table  # type: ignore[assignment]
    sys.addaudithook(watch)


def knows_one_column_more() -> None:
    """Be the next version: one that reads and writes a column of its own in the log of attempts."""
    from twinning.endpoints import Attempt

    version = Column("sent_by", String(40), default="the next version", nullable=True)
    Attempt.__table__.append_column(version)  # type: ignore[attr-defined]
    Attempt.__mapper__.add_property("sent_by", version)  # type: ignore[attr-defined]


def matches_city_by_city() -> None:
    """Make a block of each city of a round, and take `PAUSE_S` over it, so that there is a middle to hit."""
    from services.matcher import rounds

    match_block, pause_s = rounds.match_block, float(os.environ["PAUSE_S"])

    def take_longer(*given: Any) -> Any:
        time.sleep(pause_s)
        return match_block(*given)

    rounds.NEEDS_IN_A_BLOCK = 1
    rounds.match_block = take_longer


CHANGES: dict[str, Callable[[], None]] = {
    change.__name__: change
    for change in (dies_before_the_bell, looks_up_in_a_table, knows_one_column_more, matches_city_by_city)
}


if __name__ == "__main__":
    CHANGES[sys.argv.pop(1)]()
    from services.cli.main import main

    main()
