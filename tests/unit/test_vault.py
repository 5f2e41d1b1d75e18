# SPDX-License-Identifier: Apache-2.0
"""The vault: what it sealed it alone opens, in its place, and never the same text alike."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinning.errors import WrongSetting
from twinning.vault import Vault, vault_of

KEY = "a key of the operator's, of some length"
NEW = "the key that follows it, of some length"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXTS, TEXTS)
def test_what_was_sealed_opens(text: str, place: str) -> None:
    """A text comes back from its place, under another vault of the same key, too."""
    vault = Vault(KEY)
    assert Vault(KEY).open(vault.seal(text, place), place, vault.key_id) == text


def test_sealing_twice_gives_two_texts() -> None:
    """The same secret looks different each time, and neither shows it."""
    vault = Vault(KEY)
    one, another = vault.seal("whsec_x", "a"), vault.seal("whsec_x", "a")
    assert one != another
    assert b"whsec" not in base64.b64decode(one)


@pytest.mark.parametrize(
    ("keys", "place", "under"),
    [((KEY,), "b", KEY), ((NEW,), "a", KEY), ((NEW,), "a", NEW), ((NEW, KEY), "a", NEW)],
)
def test_elsewhere_it_does_not_open(keys: tuple[str, ...], place: str, under: str) -> None:
    """Another key or another place is refused, without the text, whatever key the row names."""
    sealed = Vault(KEY).seal("whsec_x", "a")
    with pytest.raises(WrongSetting, match="TWINNING_SECRETS_KEY") as refused:
        Vault(*keys).open(sealed, place, Vault(under).key_id)
    assert "whsec_x" not in refused.value.detail


def test_the_present_key_seals_and_both_open() -> None:
    """With an old key beside it the present one seals, and what either has sealed opens."""
    old, new, both = Vault(KEY), Vault(NEW), Vault(NEW, KEY)
    sealed = both.seal("whsec_x", "a")

    assert both.key_id == new.key_id
    assert new.open(sealed, "a", both.key_id) == "whsec_x"
    assert both.open(old.seal("whsec_y", "a"), "a", old.key_id) == "whsec_y"
    assert (both.knows(old.key_id), new.knows(old.key_id)) == (True, False)


def test_what_was_altered_does_not_open() -> None:
    """A single changed bit is noticed."""
    raw = bytearray(base64.b64decode(Vault(KEY).seal("whsec_x", "a")))
    raw[-1] ^= 1
    with pytest.raises(WrongSetting):
        Vault(KEY).open(base64.b64encode(raw).decode(), "a", Vault(KEY).key_id)


def test_the_id_of_a_key_tells_keys_apart_and_nothing_else() -> None:
    """Two keys have two ids, one key one, and no setting is no vault."""
    assert Vault(KEY).key_id == Vault(KEY).key_id != Vault(KEY + "!").key_id
    assert KEY not in Vault(KEY).key_id
    assert vault_of("") is None
    known = vault_of(KEY, NEW)
    assert known is not None
    assert known.knows(Vault(NEW).key_id)
