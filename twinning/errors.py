# SPDX-License-Identifier: Apache-2.0
"""Every error the house raises on purpose; the front door alone knows their HTTP status.

TwinningError
├── Invalid        a field of the request is wrong; names it by JSON Pointer
├── Unauthorised   no key, or one that is not good any more
├── Forbidden      the object may be seen and not changed by this key
├── NotFound       there is no such object, or this key may not see it
├── Conflict       the request is right and the state of things forbids it
├── Stale          the caller changed an older version than the present one
├── TooMany        this key or address asks too often; says when to come back
├── Unready        a part that the answer needs is away
└── WrongSetting   a setting has a value that cannot work; stops the start
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong with a request: where (a JSON Pointer) and what."""

    pointer: str
    detail: str


class TwinningError(Exception):
    """The root; `code` is stable and documented, the message one sentence for a person."""

    code: ClassVar[str] = "error"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problem = code or self.code


class Invalid(TwinningError):
    """Some fields of a request are wrong."""

    code = "invalid"

    def __init__(self, detail: str, flaws: Sequence[Flaw] = (), *, code: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.flaws = tuple(flaws)

    @classmethod
    def field(cls, pointer: str, detail: str, *, code: str | None = None) -> "Invalid":
        """Refuse one field, named by its JSON Pointer."""
        return cls(detail, (Flaw(pointer, detail),), code=code)


class Unauthorised(TwinningError):
    """The request bears no key, or one that is wrong, revoked or expired."""

    code = "unauthorised"


class Forbidden(TwinningError):
    """This key may see the object and not change it."""

    code = "forbidden"


class NotFound(TwinningError):
    """No such object for this key."""

    code = "not-found"


class Conflict(TwinningError):
    """The state of things forbids the request; `members` say more of it to a program."""

    code = "conflict"

    def __init__(
        self, detail: str, *, code: str | None = None, members: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(detail, code=code)
        self.members = members or {}


class Stale(TwinningError):
    """The object has changed since the caller read it."""

    code = "stale"


class TooMany(TwinningError):
    """Too much was asked in too short a time; `wait_s` says when to come back, `told` what else to say."""

    code = "too-many-requests"

    def __init__(self, detail: str, wait_s: int = 1, told: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.wait_s = wait_s
        self.told = dict(told or {})


class Unready(TwinningError):
    """A part that the answer needs is away for the moment."""

    code = "unready"


class WrongSetting(TwinningError):
    """A setting is wrong; its message names the variable."""

    code = "wrong-setting"
