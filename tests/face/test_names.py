"""``__all__`` is everything public, importable, and says that it stands in ``gemini_batch``."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gemini_batch
from gemini_batch import errors, events

SOURCE = Path(gemini_batch.__file__)


def test_what_is_public_is_sorted_and_can_be_imported() -> None:
    assert list(gemini_batch.__all__) == sorted(gemini_batch.__all__)
    for name in gemini_batch.__all__:
        assert getattr(gemini_batch, name) is not None


def test_type_checkers_and_programs_see_the_same_names() -> None:
    """The imports that only type checkers read, the table that programs are served from, and ``__all__``."""
    (imports,) = (
        node
        for node in ast.parse(SOURCE.read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name)
    )
    seen = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in imports.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    served = {
        name: f"gemini_batch.{room}.{gemini_batch._NAMES_THERE.get(name, name)}"
        for name, room in gemini_batch._PLACES.items()
    }

    assert seen == {**served, "aio": "gemini_batch.aio"}
    assert {*seen, "__version__"} == set(gemini_batch.__all__)


def public_objects() -> dict[str, Any]:
    found = {name: getattr(gemini_batch, name) for name in gemini_batch.__all__}
    return {name: value for name, value in found.items() if isinstance(value, type) or inspect.isroutine(value)}


@pytest.mark.parametrize("name", public_objects())
def test_public_names_say_that_they_stand_here(name: str) -> None:
    value = public_objects()[name]

    assert (value.__module__, value.__qualname__) == ("gemini_batch", name)
    assert value.__doc__
    assert pickle.loads(pickle.dumps(value)) is value


def test_results_show_no_type_that_is_not_public() -> None:
    fields = [field.name for field in dataclasses.fields(gemini_batch.Results) if not field.name.startswith("_")]

    assert fields == ["summary"]


def test_every_error_and_every_event_is_public() -> None:
    ours = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)}
    assert ours <= set(public_objects().values())
    assert set(events.Event.__args__) <= set(public_objects().values())


def test_the_whole_face_can_be_completed_from_the_start() -> None:
    """In a new process: nothing has been imported yet."""
    program = "import gemini_batch; print(*dir(gemini_batch))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert set(gemini_batch.__all__) <= set(done.stdout.split())


def test_a_traceback_shows_the_name_that_users_type(tmp_path: Path) -> None:
    """Also where the error's name was never used before."""
    program = "import gemini_batch; gemini_batch.status('no such name')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)

    assert done.stderr.splitlines()[-1].startswith("gemini_batch.UsageError: 'no such name' ")


def test_types_that_are_read_from_files_still_can_be(tmp_path: Path) -> None:
    """The catalog's types are public, and decoded after they have been given their public name."""
    program = "from gemini_batch import Model, load_catalog; print(load_catalog().find('gemini-3-flash-preview').kind)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)

    assert done.stdout == "text\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        gemini_batch.nonsense  # type: ignore[attr-defined]  # noqa: B018
