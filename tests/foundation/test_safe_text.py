"""Text from outside is printable, and no form of the secret is in it."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.safe_text import Redactor, printable

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "AIzaSyD-TheKeyOfTheseTests_0123456789"
VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)


@given(st.text())
def test_nothing_that_acts_on_a_terminal_is_left(text: str) -> None:
    shown = printable(text)
    assert not [one for one in shown if unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"}]
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
    assert len(shown) == len(text)
    assert printable(shown) == shown


@pytest.mark.parametrize("text", ["", "plain", "Grüße, 日本語, می‌خواهم", "👩‍🔬 \u2764\ufe0f"])
def test_what_people_write_stays(text: str) -> None:
    assert printable(text) == text


def _percent(text: str) -> str:
    return "".join(f"%{ord(letter):02x}" for letter in text)


FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda key: key,
    "quoted": lambda key: quote(key, safe=""),
    "quoted whole": _percent,
    "quoted in capitals": lambda key: _percent(key).upper(),
    "quoted twice": lambda key: quote(_percent(key), safe=""),
    "as JSON": lambda key: json.dumps(key)[1:-1],
    "escaped whole": lambda key: "".join(f"\\u{ord(letter):04X}" for letter in key),
    "half of it escaped": lambda key: _percent(key[:4]) + "".join(f"\\u{ord(letter):04x}" for letter in key[4:]),
}


@pytest.mark.parametrize("form", FORMS)
@given(key=st.text(VISIBLE, min_size=8, max_size=60), before=st.text(max_size=20), after=st.text(max_size=20))
def test_no_form_of_the_key_is_left(form: str, key: str, before: str, after: str) -> None:
    redactor, echo = Redactor(key), FORMS[form](key)
    shown = redactor(f"{before} {echo} {after}")
    assert echo not in shown
    assert key not in shown
    data = f"{before} {echo} {after}".encode("utf-8", "replace")
    assert redactor.holds_secret(data)
    assert echo.encode() not in redactor.in_bytes(data)
    assert not redactor.holds_secret(redactor.in_bytes(data)) or key.encode() not in redactor.in_bytes(data)


@given(st.text(), st.binary())
def test_text_without_the_key_stays(text: str, data: bytes) -> None:
    redactor = Redactor(KEY)
    assert redactor(text) == printable(text)
    assert redactor.in_bytes(data) == data
    assert not redactor.holds_secret(data)


@pytest.mark.parametrize("cut", range(1, len(KEY)))
def test_a_key_that_is_broken_over_lines_is_found(cut: int) -> None:
    assert Redactor(KEY)(f"x {KEY[:cut]}\n{KEY[cut:]} y") == "x … y"


@pytest.mark.parametrize("key", ["", "test", "offline"])
def test_a_placeholder_is_no_secret(key: str) -> None:
    assert Redactor(key)("a test while offline") == "a test while offline"
    assert not Redactor(key).holds_secret(b"a test while offline")


def test_a_redactor_does_not_show_its_secret() -> None:
    assert KEY not in repr(Redactor(KEY))
