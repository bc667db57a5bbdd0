"""Settings: flags before the environment before a ``.env``, and a key that goes where it belongs and shows nowhere."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gemini_batch import GeminiBatch, settings
from gemini_batch.errors import UsageError
from gemini_batch.events import Notice
from gemini_batch.settings import (
    API_VERSION,
    DOTENV_NAMES,
    GOOGLE_BASE_URL,
    Secret,
    Settings,
    checked_base_url,
    load_settings,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_batch.events import Event

KEY = "AIzaSyD-TheKeyOfTheseTests_0123456789"
OTHER = "AQ.Another-key.of_these-tests"


def read(folder: Path, env: dict[str, str] | None = None, dotenv: str | bytes | None = None, **flags: Any) -> Settings:
    if dotenv is not None:
        (folder / ".env").write_bytes(dotenv.encode() if isinstance(dotenv, str) else dotenv)
    return load_settings(env or {}, folder, **flags)


def test_defaults(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert (found.base_url, found.api_version) == (GOOGLE_BASE_URL, API_VERSION)
    assert (found.api_key, found.offline, found.poll, found.settle) == (None, False, None, 30.0)
    assert found.home.is_absolute()
    assert found.home.name == "gemini-batch"


PRECEDENCE: list[tuple[str, dict[str, str], str, dict[str, Any], Any]] = [
    # setting, environment, .env, flags, what holds
    ("offline", {}, "GEMINI_BATCH_OFFLINE=1", {}, True),
    ("offline", {"GEMINI_BATCH_OFFLINE": "0"}, "GEMINI_BATCH_OFFLINE=1", {}, False),
    ("offline", {"GEMINI_BATCH_OFFLINE": ""}, "GEMINI_BATCH_OFFLINE=1", {}, True),
    ("offline", {"GEMINI_BATCH_OFFLINE": "1"}, "", {"offline": False}, False),
    ("offline", {}, "", {"offline": True}, True),
    ("poll", {}, "GEMINI_BATCH_POLL=7", {}, 7.0),
    ("poll", {"GEMINI_BATCH_POLL": "8.5"}, "GEMINI_BATCH_POLL=7", {}, 8.5),
    ("poll", {"GEMINI_BATCH_POLL": "8.5"}, "GEMINI_BATCH_POLL=7", {"poll": 9.0}, 9.0),
    ("poll", {"GEMINI_BATCH_POLL": "8"}, "", {"poll": 0.0}, 0.0),
    ("settle", {}, "GEMINI_BATCH_SETTLE=5", {}, 30.0),
    ("settle", {"GEMINI_BATCH_SETTLE": "0"}, "GEMINI_BATCH_SETTLE=5", {}, 0.0),
    ("home", {"GEMINI_BATCH_HOME": "/from/env"}, "GEMINI_BATCH_HOME=/from/file", {}, Path("/from/env")),
    ("home", {"GEMINI_BATCH_HOME": "/from/env"}, "", {"home": Path("/from/flag")}, Path("/from/flag")),
    ("api_version", {}, "GOOGLE_GENAI_API_VERSION=v1alpha", {}, "v1alpha"),
    ("api_version", {"GOOGLE_GENAI_API_VERSION": "v1"}, "GOOGLE_GENAI_API_VERSION=v1alpha", {}, "v1"),
    ("base_url", {"GOOGLE_GEMINI_BASE_URL": "https://a.example"}, "", {}, "https://a.example"),
    ("base_url", {}, f"GOOGLE_GEMINI_BASE_URL=https://b.example\nGEMINI_API_KEY={KEY}", {}, "https://b.example"),
    (
        "base_url",
        {"GOOGLE_GEMINI_BASE_URL": "https://a.example"},
        f"GOOGLE_GEMINI_BASE_URL=https://b.example\nGEMINI_API_KEY={KEY}",
        {},
        "https://a.example",
    ),
]


@pytest.mark.parametrize(("name", "env", "dotenv", "flags", "value"), PRECEDENCE)
def test_flags_before_environment_before_file(
    name: str, env: dict[str, str], dotenv: str, flags: dict[str, Any], value: Any, tmp_path: Path
) -> None:
    assert getattr(read(tmp_path, env, dotenv, **flags), name) == value


BLANK = ["", " ", "\t", "\n"]


@pytest.mark.parametrize("blank", BLANK)
@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("GOOGLE_GEMINI_BASE_URL", "base_url", "https://b.example"),
        ("GOOGLE_GENAI_API_VERSION", "api_version", "v1alpha"),
        ("GEMINI_BATCH_OFFLINE", "offline", True),
        ("GEMINI_BATCH_POLL", "poll", 7.0),
    ],
)
def test_blank_means_unset(blank: str, name: str, setting: str, value: Any, tmp_path: Path) -> None:
    """In the environment and in the file; a blank variable in the environment leaves the word to the file."""
    default = getattr(read(tmp_path), setting)
    written = f'{name}="{blank}"'
    assert getattr(read(tmp_path, {name: blank}, f"{name}={value}\nGEMINI_API_KEY={KEY}"), setting) == value
    assert getattr(read(tmp_path, {name: blank}, ""), setting) == default
    assert getattr(read(tmp_path, {}, written), setting) == default
    assert getattr(read(tmp_path, {name: blank}, written), setting) == default


@pytest.mark.parametrize("blank", BLANK)
@pytest.mark.parametrize(
    ("env", "dotenv", "blank_base_url", "base_url"),
    [
        (None, None, False, GOOGLE_BASE_URL),
        ("{}", None, True, GOOGLE_BASE_URL),
        (None, "{}", True, GOOGLE_BASE_URL),
        ("{}", "{}", True, GOOGLE_BASE_URL),
        ("{}", "https://b.example", True, "https://b.example"),
        (None, "https://b.example", False, "https://b.example"),
        ("https://a.example", "{}", False, "https://a.example"),
    ],
)
def test_a_blank_address_is_known_to_be_one(
    blank: str, env: str | None, dotenv: str | None, blank_base_url: bool, base_url: str, tmp_path: Path
) -> None:
    """Where the place that would decide is set but blank, commands that spend name the address."""
    name = "GOOGLE_GEMINI_BASE_URL"
    found = read(
        tmp_path,
        {} if env is None else {name: env.format(blank)},
        f"GEMINI_API_KEY={KEY}\n" + ("" if dotenv is None else f'{name}="{dotenv.format(blank)}"'),
    )
    assert (found.blank_base_url, found.base_url) == (blank_base_url, base_url)


def test_a_name_without_a_value_in_the_file_is_blank(tmp_path: Path) -> None:
    for line in ("GOOGLE_GEMINI_BASE_URL=", "export GOOGLE_GEMINI_BASE_URL=''"):
        assert read(tmp_path, {}, line).blank_base_url
    assert not read(tmp_path, {}, "GOOGLE_GEMINI_BASE_URL").blank_base_url  # no assignment


@pytest.mark.parametrize(
    ("env", "dotenv", "key"),
    [
        ({"GOOGLE_API_KEY": KEY, "GEMINI_API_KEY": OTHER}, "", KEY),
        ({"GOOGLE_API_KEY": "", "GEMINI_API_KEY": OTHER}, "", OTHER),
        ({"GOOGLE_API_KEY": "  ", "GEMINI_API_KEY": OTHER}, "", OTHER),
        ({"GEMINI_API_KEY": OTHER}, f"GOOGLE_API_KEY={KEY}", OTHER),  # the environment as a whole before the file
        ({}, f"GEMINI_API_KEY={OTHER}\nGOOGLE_API_KEY={KEY}", KEY),
        ({}, f"GEMINI_API_KEY='{OTHER}'", OTHER),
        ({}, f'export GEMINI_API_KEY="{OTHER}"  # mine', OTHER),
        ({"GEMINI_API_KEY": f" {KEY}\n"}, "", KEY),
        ({"API_KEY": KEY}, "", None),
        ({}, "GEMINI_API_KEY=", None),
        ({}, f"\ufeffGEMINI_API_KEY={KEY}\r\n", KEY),  # as an editor on Windows saves it
    ],
)
def test_where_the_key_comes_from(env: dict[str, str], dotenv: str, key: str | None, tmp_path: Path) -> None:
    found = read(tmp_path, env, dotenv)
    assert (found.api_key.reveal() if found.api_key else None) == key


def test_no_key_is_said_with_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="export GEMINI_API_KEY") as caught:
        read(tmp_path).require_key()
    assert caught.value.reason_code == "no_api_key"
    assert read(tmp_path, {"GEMINI_API_KEY": KEY}).require_key().reveal() == KEY


# A file in a folder may set only what cannot hurt ----------------------------------------------------------------


@pytest.mark.parametrize("blank", BLANK)
@pytest.mark.parametrize("name", ["GEMINI_BATCH_HOME", "GEMINI_BATCH_SETTLE"])
def test_blank_in_the_environment_does_not_leave_the_word_to_the_file(blank: str, name: str, tmp_path: Path) -> None:
    default = read(tmp_path)
    found = read(tmp_path, {name: blank}, f"{name}=7")
    assert (found.home, found.settle) == (default.home, default.settle)


def every_variable() -> list[str]:
    """All variables that the program reads, as its source names them."""
    source = "".join(path.read_text("utf-8") for path in Path(settings.__file__).parent.rglob("*.py"))
    return sorted(set(re.findall(r"\"((?:GOOGLE|GEMINI)_[A-Z_]+[A-Z])\"", source)))


def test_what_a_file_may_set(tmp_path: Path) -> None:
    """Keys, the base URL, the version, offline and the polls; of everything else this program's, nothing."""
    assert {
        "GOOGLE_API_KEY",
        "GEMINI_API_KEY",
        "GOOGLE_GEMINI_BASE_URL",
        "GOOGLE_GENAI_API_VERSION",
        "GEMINI_BATCH_OFFLINE",
        "GEMINI_BATCH_POLL",
    } == DOTENV_NAMES
    others = [name for name in every_variable() if name not in DOTENV_NAMES]
    assert {"GEMINI_BATCH_HOME", "GEMINI_BATCH_SETTLE"} <= set(others)
    default = read(tmp_path)
    for name in [*others, "GEMINI_BATCH_NEW", "GOOGLE_NEW"]:
        for value in ("7", "/elsewhere", "${HOME}", ""):
            found = read(tmp_path, {}, f"{name}={value}\n")
            assert dataclasses.replace(found, ignored=()) == default
            assert found.ignored == ((name,) if name.startswith("GEMINI_BATCH_") else ())


def test_what_a_file_sets_in_vain_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of calls; and nothing is written elsewhere."""
    monkeypatch.chdir(tmp_path)
    lines = ("GEMINI_BATCH_HOME=elsewhere", "GEMINI_BATCH_SETTLE=0", "GEMINI_BATCH_OFFLINE=1", "DATABASE_URL=x")
    (tmp_path / ".env").write_text("\n".join(lines))
    (tmp_path / "r.jsonl").write_text('{"key": "a", "request": {"contents": [{"parts": [{"text": "Hi"}]}]}}')
    said: list[Event] = []
    with GeminiBatch(on_event=said.append) as batch:
        created = batch.create("r.jsonl")
        assert created.job is not None
        batch.status(created.job, wait=True)
    (warning,) = [event for event in said if isinstance(event, Notice) and ".env" in event.message]
    assert warning.message.startswith("GEMINI_BATCH_HOME, GEMINI_BATCH_SETTLE in the .env file have no effect")
    assert warning.level == "warning"
    assert not (tmp_path / "elsewhere").exists()


# A file in a folder may not send the user's key elsewhere --------------------------------------------------------

MOVED = "GOOGLE_GEMINI_BASE_URL=https://elsewhere.example"


@pytest.mark.parametrize("dotenv", [MOVED, f"{MOVED}\nGEMINI_API_KEY={OTHER}", f"{MOVED}\nGOOGLE_API_KEY={OTHER}"])
@pytest.mark.parametrize("name", ["GOOGLE_API_KEY", "GEMINI_API_KEY"])
def test_file_does_not_send_the_environments_key_elsewhere(dotenv: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, {name: KEY}, dotenv)
    assert caught.value.reason_code == "base_url_without_key"
    assert caught.value.file == str(tmp_path / ".env")
    assert KEY not in str(caught.value)


def test_file_with_its_own_key_may_move_the_address(tmp_path: Path) -> None:
    found = read(tmp_path, {}, f"{MOVED}\nGEMINI_API_KEY={OTHER}")
    assert (found.base_url, found.require_key().reveal()) == ("https://elsewhere.example", OTHER)


def test_key_that_the_file_knows_anyway_may_be_exported_too(tmp_path: Path) -> None:
    found = read(tmp_path, {"GEMINI_API_KEY": KEY}, f"{MOVED}\nGEMINI_API_KEY={KEY}")
    assert (found.base_url, found.require_key().reveal()) == ("https://elsewhere.example", KEY)


def test_file_without_any_key_moves_an_address_to_which_nothing_is_sent(tmp_path: Path) -> None:
    found = read(tmp_path, {}, MOVED)
    assert found.base_url == "https://elsewhere.example"
    with pytest.raises(UsageError, match="No API key"):
        found.require_key()


def test_offline_needs_no_key_and_leaves_the_address_alone(tmp_path: Path) -> None:
    found = read(tmp_path, {"GEMINI_API_KEY": KEY}, MOVED, offline=True)
    assert found.offline
    assert found.base_url == GOOGLE_BASE_URL


def test_file_cannot_take_other_secrets_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_OTHER_SECRET", KEY)
    for line in ("GEMINI_API_KEY=${SOME_OTHER_SECRET}", f"{MOVED}/${{SOME_OTHER_SECRET}}\nGEMINI_API_KEY=k"):
        with pytest.raises(UsageError, match="not expanded") as caught:
            read(tmp_path, {}, f"{MOVED}\n{line}")
        assert caught.value.field in {"GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"}
        assert KEY not in str(caught.value)
    assert read(tmp_path, {}, "PATH_OF_ANOTHER_PROGRAM=${HOME}/x").api_key is None


def test_file_of_another_folder_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / ".env").write_text(f"GEMINI_API_KEY={KEY}")
    monkeypatch.chdir(inner)
    assert load_settings({}).api_key is None
    monkeypatch.chdir(tmp_path)
    assert load_settings({}).require_key().reveal() == KEY


def test_environment_of_the_process_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", OTHER)
    assert load_settings(folder=tmp_path).require_key().reveal() == OTHER


# Values that cannot be meant -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "env",
    [
        {"GEMINI_BATCH_OFFLINE": "perhaps"},
        {"GEMINI_BATCH_OFFLINE": "2"},
        {"GEMINI_BATCH_POLL": "often"},
        {"GEMINI_BATCH_POLL": "-1"},
        {"GEMINI_BATCH_POLL": "nan"},
        {"GEMINI_BATCH_POLL": "inf"},
        {"GEMINI_BATCH_POLL": "30s"},
        {"GEMINI_BATCH_SETTLE": "-0.1"},
        {"GEMINI_BATCH_SETTLE": "1e999"},
        {"GEMINI_BATCH_HOME": "~nobody-of-this-name-lives-here/x"},
        {"GOOGLE_GENAI_API_VERSION": "1"},
        {"GOOGLE_GENAI_API_VERSION": "v1/../../other"},
        {"GOOGLE_GENAI_API_VERSION": "v1?key=1"},
        {"GOOGLE_GENAI_API_VERSION": "v1beta "},
        {"GOOGLE_GEMINI_BASE_URL": "service.example"},
        {"GOOGLE_GEMINI_BASE_URL": "ftp://service.example"},
        {"GOOGLE_GEMINI_BASE_URL": "https://"},
        {"GOOGLE_GEMINI_BASE_URL": "https:///path"},
        {"GOOGLE_GEMINI_BASE_URL": "https://service.example:port"},
        {"GOOGLE_GEMINI_BASE_URL": "https://service.example:99999"},
        {"GOOGLE_GEMINI_BASE_URL": "https://service.example?x=1"},
        {"GOOGLE_GEMINI_BASE_URL": "https://service.example?"},
        {"GOOGLE_GEMINI_BASE_URL": "https://service.example#x"},
        {"GOOGLE_GEMINI_BASE_URL": "https://service.example\\@evil.example"},
        {"GOOGLE_GEMINI_BASE_URL": "https://ser vice.example"},
        {"GOOGLE_GEMINI_BASE_URL": "https://service.example/\npath"},
        {"GOOGLE_GEMINI_BASE_URL": "https://sérvice.example"},
        {"GOOGLE_GEMINI_BASE_URL": "https://[::1"},
        {"GOOGLE_GEMINI_BASE_URL": "file:///etc/passwd"},
    ],
)
@pytest.mark.parametrize("where", ["environment", "file"])
def test_value_that_cannot_be_meant_is_refused(env: dict[str, str], where: str, tmp_path: Path) -> None:
    [(name, value)] = env.items()
    if where == "file" and name not in DOTENV_NAMES:
        assert read(tmp_path, {}, f"{name}={json.dumps(value)}") == dataclasses.replace(
            read(tmp_path / "none"), ignored=(name,)
        )
        return
    if where == "file":
        dotenv = f"GEMINI_API_KEY={KEY}\n{name}={json.dumps(value, ensure_ascii=False)}"
        env = {}
    else:
        dotenv = ""
    with pytest.raises(UsageError) as caught:
        read(tmp_path, env, dotenv)
    assert caught.value.exit_code == 2
    assert caught.value.reason_code == "bad_setting"
    assert caught.value.next
    assert name in str(caught.value)


@pytest.mark.parametrize("poll", [-1.0, float("nan"), float("inf")])
def test_flag_that_cannot_be_meant_is_refused(poll: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="number of seconds"):
        read(tmp_path, poll=poll)


@pytest.mark.parametrize("text", ["https://user:pa55word@service.example", "user:pa55word@service.example"])
def test_password_in_an_address_is_not_repeated(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, {"GOOGLE_GEMINI_BASE_URL": text})
    assert "pa55word" not in str(caught.value)
    assert "service.example" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://service.example/", "https://service.example"),
        ("https://service.example//", "https://service.example"),
        ("https://service.example/gemini/", "https://service.example/gemini"),
        (" https://service.example\n", "https://service.example"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("HTTPS://Service.Example", "HTTPS://Service.Example"),
    ],
)
def test_addresses_that_are_meant(text: str, address: str) -> None:
    assert checked_base_url(text) == address


@pytest.mark.parametrize(
    "key",
    ["two words", f"{KEY} {KEY}", f"{KEY}\n{KEY}", "tab\tbed", "schlüssel", "“quoted”", "nul\x00", "line\u2028end"],
)
@pytest.mark.parametrize("name", ["GOOGLE_API_KEY", "GEMINI_API_KEY"])
def test_key_that_is_none_is_refused_without_being_shown(key: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, {name: key})
    assert caught.value.reason_code == "bad_api_key"
    assert key not in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfeG\x00E\x00", b"GEMINI_API_KEY=\xe9", "A=\u00e9".encode("latin-1")])
def test_file_that_is_no_text_is_said(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="UTF-8") as caught:
        read(tmp_path, dotenv=content)
    assert caught.value.reason_code == "bad_dotenv"
    assert caught.value.file == str(tmp_path / ".env")


def test_folder_that_is_named_like_the_file_is_none(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert read(tmp_path).api_key is None


@pytest.mark.parametrize("word", ["1", "true", "YES", " on "])
def test_words_for_yes(word: str, tmp_path: Path) -> None:
    assert read(tmp_path, {"GEMINI_BATCH_OFFLINE": word}).offline


@pytest.mark.parametrize("word", ["0", "False", "no", "OFF", " "])
def test_words_for_no(word: str, tmp_path: Path) -> None:
    assert not read(tmp_path, {"GEMINI_BATCH_OFFLINE": word}).offline


@pytest.mark.parametrize(("text", "path"), [("~/runs", "user/runs"), ("runs", "runs")])
def test_home_is_a_full_path(text: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    assert read(tmp_path, {"GEMINI_BATCH_HOME": text}).home == tmp_path / path


# The secret stays one --------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Holder:
    key: Secret


SHOWN: dict[str, Callable[[Secret], str]] = {
    "repr": repr,
    "str": str,
    "f-string": lambda key: f"{key}",
    "format with a width": lambda key: f"{key!s:>60}",
    "percent": lambda key: "%s %r" % (key, key),  # noqa: UP031 - people write so
    "in a list": lambda key: str([key, {"key": key}]),
    "in a dataclass": lambda key: repr(Holder(key)),
    "in settings": lambda key: repr(Settings(home=Path("/h"), api_key=key)),
    "asdict": lambda key: repr(dataclasses.asdict(Holder(key))),
    "astuple": lambda key: repr(dataclasses.astuple(Settings(home=Path("/h"), api_key=key))),
    "json with a way out": lambda key: json.dumps({"key": key}, default=repr),
    "msgspec with a way out": lambda key: msgspec.json.encode({"key": key}, enc_hook=repr).decode(),
    "deep copy": lambda key: repr(copy.deepcopy(key)),
    "dir": lambda key: repr(dir(key)),
    "doc": lambda key: repr(type(key).__doc__),
}


@pytest.mark.parametrize("way", SHOWN)
def test_secret_does_not_show(way: str) -> None:
    assert KEY not in SHOWN[way](Secret(KEY))


@pytest.mark.parametrize(
    "writing",
    [
        pytest.param(json.dumps, id="json"),
        pytest.param(msgspec.json.encode, id="msgspec"),
        pytest.param(pickle.dumps, id="pickle"),
        pytest.param(lambda key: pickle.dumps(Settings(home=Path("/h"), api_key=key)), id="pickled settings"),
        pytest.param(vars, id="vars"),
        pytest.param(iter, id="iter"),
        pytest.param(bytes, id="bytes"),
        pytest.param(len, id="len"),
    ],
)
def test_secret_is_not_written(writing: Callable[[Secret], object]) -> None:
    with pytest.raises(TypeError) as caught:
        writing(Secret(KEY))
    assert KEY not in str(caught.value)


def test_secret_survives_copying_and_is_revealed_only_when_asked() -> None:
    settings = Settings(home=Path("/h"), api_key=Secret(KEY))
    assert dataclasses.replace(settings, offline=True).require_key().reveal() == KEY
    assert dataclasses.asdict(settings)["api_key"].reveal() == KEY
