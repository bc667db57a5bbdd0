"""A table in, a table out: whole commands, offline."""

from __future__ import annotations

import shlex
import sqlite3
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl
import pyarrow.parquet as pq
import pytest

import gemini_batch
from cli.csv_files import read_csv, write_csv

if TYPE_CHECKING:
    from cli.conftest import Done, Shell


def summary(done: Done) -> Any:
    return msgspec.json.decode(done.out.strip().split("\n")[-1])["result"]


def test_a_sample_is_joined_to_its_own_rows(shell: Shell) -> None:
    write_csv(shell.folder / "t.csv", [{"a": f"number {at}"} for at in range(40)])

    assert shell.run("run", "t.csv", "-p", "{{ a }}.", "--sample", "5", "-o", "s.csv", "--offline", "-q").code == 0

    found = read_csv(shell.folder / "s.csv")
    assert len(found) == 5
    assert all(f"{row['a']}." in row["text"] for row in found)


def test_another_schema_for_the_same_requests_judges_the_answers_anew(shell: Shell) -> None:
    """A word that the service is not told changes only what the answers are checked for; what fails is asked again."""
    write_csv(shell.folder / "t.csv", [{"a": "x"}])
    schema: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    verdicts = []
    for more in ({}, {"multipleOf": 1_000_003}, {}):
        schema["properties"]["n"] = {"type": "integer", **more}
        (shell.folder / "s.json").write_bytes(msgspec.json.encode(schema))
        ask = (
            "run",
            "t.csv",
            "-p",
            "{{ a }}",
            "--schema",
            "s.json",
            "--schema-field",
            "responseSchema",
            "--offline",
            "-q",
        )
        shell.run(*ask, "-o", "o.csv")
        verdicts.append(read_csv(shell.folder / "o.csv")[0]["verdict"])

    assert verdicts == ["succeeded", "invalid", "succeeded"]
    assert len(shell.run("list", "--offline", "--json").document["result"]) == 2


def test_texts_are_files_of_their_own(shell: Shell) -> None:
    write_csv(shell.folder / "t.csv", [{"id": "a", "t": "x"}, {"id": "../b", "t": "y"}, {"id": "c", "t": ""}])
    ask = ("run", "t.csv", "-p", "Say {{ t }}", "--key", "id", "--offline", "-q", "--output-dir", "texts")

    assert shell.run(*ask).code == 1

    names = sorted(path.name for path in (shell.folder / "texts").iterdir() if path.suffix == ".txt")
    assert names[0] == "a.txt"
    assert names[1].startswith("b-")
    assert len(names) == 2
    assert "Say x" in (shell.folder / "texts" / "a.txt").read_text()
    (shell.folder / "texts" / "a.txt").write_text("mine")
    assert shell.run(*ask).code == 2
    assert (shell.folder / "texts" / "a.txt").read_text() == "mine"
    (shell.folder / "file").write_text("x")
    assert shell.run(*ask[:-1], "file", "--new").code == 2


def test_texts_are_named_by_a_key_or_nothing_is_sent(shell: Shell) -> None:
    write_csv(shell.folder / "t.csv", [{"id": "a", "t": "x"}])
    ask = ("run", "t.csv", "-p", "Say {{ t }}", "--offline", "--output-dir", "texts")

    refused = shell.run(*ask)

    assert refused.code == 2
    assert "--key" in refused.err
    assert not shell.run("list", "--offline", "--json").document["result"]
    (shell.folder / "ask.toml").write_text('key = "id"\n')
    found = shell.run(*ask, "--request-file", "ask.toml")
    assert found.code == 0
    assert "Written: a file for each text, in texts" in found.err
    assert "Next:" not in found.err
    assert (shell.folder / "texts" / "a.txt").exists()


def test_the_next_step_after_a_run_of_a_table_writes_a_table(shell: Shell) -> None:
    write_csv(shell.folder / "t.csv", [{"id": "a", "t": "x"}, {"id": "b", "t": "y"}])
    ask = ("run", "t.csv", "-p", "Say {{ t }}", "--offline")

    trial, whole = shell.run(*ask, "--limit", "1"), shell.run(*ask)
    state = shell.run("status", whole.out.strip())
    known = shell.run("create", *ask[1:])

    for one in (trial, whole, state, known):
        assert "-o results.csv" in one.err
        assert "results.jsonl" not in one.err
    words = shlex.split(next(line for line in whole.err.splitlines() if line.startswith("Next: "))[len("Next: ") :])
    assert shell.run(*words[words.index("results") :]).code == 0
    assert [row["text"] != "" for row in read_csv(shell.folder / "results.csv")] == [True, True]


def test_what_is_wrong_with_a_file_of_requests_leads_to_a_corrected_copy(shell: Shell) -> None:
    (shell.folder / "in.jsonl").write_text(
        '{"key": "a", "request": {"contents": [{"parts": [{"text": "x"}]}]}}\n'
        '{"key": "a", "request": {"contents": [{"parts": [{"text": "y"}]}]}},\n'
    )

    refused = shell.run("run", "in.jsonl", "--offline")

    assert refused.code == 2
    assert "or write a corrected copy: gemini-batch validate in.jsonl --fix -o in-2.jsonl" in refused.err
    shell.run("validate", "in.jsonl", "--fix", "-o", "in-2.jsonl")
    again = shell.run("run", "in-2.jsonl", "--offline")
    hint = "gemini-batch validate in-2.jsonl --fix -o in-2-2.jsonl --key-duplicates number"
    assert hint in again.err
    assert shell.run(*hint.split()[1:]).code == 0
    assert shell.run("run", "in-2-2.jsonl", "--offline").code == 0


def test_only_changed_rows_are_sent_the_next_night(shell: Shell) -> None:
    rows = [{"id": str(at), "what": f"text {at}", "price": str(at)} for at in range(30)]
    write_csv(shell.folder / "t.csv", rows)
    ask = ("run", "t.csv", "-p", "Describe {{ what }}", "--offline", "-q", "--json", "-o", "out.parquet")
    assert shell.run(*ask).code == 0
    rows[4]["what"] = "changed"
    rows[5]["price"] = "not in the prompt"
    rows.insert(0, {"id": "new", "what": "first", "price": "1"})
    write_csv(shell.folder / "t.csv", rows)

    again = summary(shell.run(*ask))

    assert (again["requests"], again["remembered"]) == (31, 29)
    found = pq.read_table(shell.folder / "out.parquet").to_pylist()
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert [row["price"] for row in found] == [row["price"] for row in rows]
    assert all(row["what"] in row["text"] for row in found)


def test_the_same_requests_with_other_columns_have_the_new_columns(shell: Shell) -> None:
    """The run is the same, because its requests are; the table is the newest."""
    ask = ("run", "t.csv", "-p", "{{ a }}", "--offline", "-q", "--json", "-o")
    write_csv(shell.folder / "t.csv", [{"a": "x", "b": "1"}, {"a": "y", "b": "2"}])
    first = summary(shell.run(*ask, "one.csv"))
    write_csv(
        shell.folder / "t.csv",
        [{"b": "3", "c": "4", "a": "x"}, {"b": "", "c": "", "a": ""}, {"b": "5", "c": "6", "a": "y"}],
    )

    second = summary(shell.run(*ask, "two.csv"))

    assert second["run"] == first["run"]
    assert [(row["c"], row["verdict"]) for row in read_csv(shell.folder / "two.csv")] == [
        ("4", "succeeded"),
        ("", "skipped"),
        ("6", "succeeded"),
    ]


FORMATS = ("csv", "tsv", "parquet", "ndjson", "db", "xlsx")


def test_any_output_can_be_made_again_for_nothing(shell: Shell) -> None:
    write_csv(shell.folder / "t.csv", [{"a": "x"}, {"a": ""}, {"a": "=1+1"}])
    run = summary(shell.run("run", "t.csv", "-p", "{{ a }}", "--offline", "-q", "--json", "-o", "first.jsonl"))["run"]

    for form in FORMATS:
        assert shell.run("results", run, "-o", f"out.{form}", "-q").code == 1
    assert shell.run("results", run, "-o", "safe.csv", "--spreadsheet", "--as", "ai", "-q").code == 1

    lines = [msgspec.json.decode(line) for line in (shell.folder / "first.jsonl").read_bytes().splitlines()]
    assert [line["verdict"] for line in lines] == ["succeeded", "skipped", "succeeded"]
    assert lines[1]["key"] == "row-2"
    assert lines[1]["error"] == {"code": None, "reason": "EMPTY_PROMPT", "message": "`a` is empty."}
    expected = [line["verdict"] for line in lines]
    assert [row["verdict"] for row in read_csv(shell.folder / "out.csv")] == expected
    assert pq.read_table(shell.folder / "out.parquet").column("verdict").to_pylist() == expected
    with sqlite3.connect(shell.folder / "out.db") as db:
        assert [row[0] for row in db.execute("SELECT verdict FROM results")] == expected
    db.close()
    safe = (shell.folder / "safe.csv").read_bytes()
    assert safe.startswith(b"\xef\xbb\xbfa,ai_text,ai_verdict,ai_problem")
    assert b"\n'=1+1," in safe.replace(b"\r", b"")
    assert not (shell.folder / "out.failures.jsonl").exists()


@pytest.mark.parametrize("form", FORMATS)
def test_a_table_takes_no_place_of_anything_else(shell: Shell, form: str) -> None:
    """Neither of a file of the user's, found before anything is sent, nor of a table that the user has changed."""
    write_csv(shell.folder / "t.csv", [{"a": "x"}])
    out = shell.folder / f"out.{form}"
    ask = ("run", "t.csv", "-p", "{{ a }}", "--offline", "-q", "--json", "-o", out.name)
    out.write_bytes(b"mine")
    assert shell.run(*ask).code == 2
    assert not list(shell.home.glob("offline/runs/*"))
    out.unlink()
    run = summary(shell.run(*ask))["run"]
    changed = out.read_bytes() + b"\n"
    out.write_bytes(changed)

    for words in (ask, ("results", run, "-o", out.name, "-q")):
        assert shell.run(*words).code == 2
        assert out.read_bytes() == changed
    with gemini_batch.GeminiBatch(offline=True) as batch, pytest.raises(gemini_batch.UsageError):
        batch.results(run).write(out)
    assert out.read_bytes() == changed


def test_a_run_of_a_request_file_becomes_a_table_too(shell: Shell) -> None:
    from cli.conftest import request

    shell.write("in.jsonl", request("a"), request("b"))

    assert shell.run("run", "in.jsonl", "--offline", "-q", "-o", "out.parquet").code == 0

    found = pq.read_table(shell.folder / "out.parquet").to_pylist()
    assert [(row["key"], row["verdict"], row["problem"]) for row in found] == [
        ("a", "succeeded", None),
        ("b", "succeeded", None),
    ]


def test_workflow_7_is_three_commands(shell: Shell) -> None:
    write_csv(shell.folder / "topics.csv", [{"topic": "bees"}, {"topic": ""}, {"topic": "tides"}])
    steps = (
        ("topics.csv", "-p", "Write about {{ topic }}", "-o", "posts.parquet"),
        ("posts.parquet", "-p", "Sum up: {{ text }}", "--as", "summary", "-o", "sums.parquet"),
        (
            "sums.parquet",
            "-p",
            "Say: {{ summary_text }}",
            "--kind",
            "speech",
            "--voice",
            "Kore",
            "--as",
            "audio",
            "-o",
            "s.csv",
        ),
    )
    for _ in range(2):  # each may be repeated
        for step in steps:
            done = shell.run("run", *step, "--offline", "-q")
            assert done.code == 1, done

    found = read_csv(shell.folder / "s.csv")
    assert [row["topic"] for row in found] == ["bees", "", "tides"]
    assert "EARLIER" not in found[0]["audio_problem"]
    assert found[1]["audio_problem"] == ("An earlier step had a problem with this row: `topic` is empty.")
    for row in (found[0], found[2]):
        (name,) = msgspec.json.decode(row["audio_media"])
        assert (shell.folder / name).read_bytes()[:4] == b"RIFF"
    assert len(shell.run("list", "--offline", "--json").document["result"]) == 3


def test_embeddings(shell: Shell) -> None:
    write_csv(shell.folder / "t.csv", [{"a": "x"}, {"a": "y"}])

    done = shell.run(
        "run", "t.csv", "-p", "{{ a }}", "--kind", "embed", "--dimensions", "128", "-o", "e.parquet", "--offline", "-q"
    )

    assert done.code == 0
    table = pq.read_table(shell.folder / "e.parquet")
    assert [len(row) for row in table.column("embedding").to_pylist()] == [128, 128]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("t.csv",), "--prompt"),
        (("t.csv", "-p", "{{ b }}"), "no column `b`"),
        (("t.csv", "-p", "{{ a }}", "--key", "k"), "no column `k`"),
        (("t.csv", "-p", "{{ a }}", "--key", "text", "--as", "x"), "same key"),
        (("t.csv", "-p", "{{ a }}"), "column_collision|already has a column 'text'"),
        (("t.csv", "-p", "{{ a }}", "--as", "x", "--set", "topK=lots"), "topK"),
        (("gone.csv", "-p", "{{ a }}"), "does not exist"),
        (("t.csv", "--temperature", "1"), "--temperature is for tables"),
        (("run-abc", "-p", "{{ a }}"), "has its requests already"),
        (("t.csv", "--sql", "select 1", "-p", "{{ a }}"), "--sql names its tables itself"),
        ((), "There is no input|There is no table"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "create", "prepare"])
def test_mistakes_are_found_before_anything_is_sent(shell: Shell, verb: str, words: tuple[str, ...], said: str) -> None:
    write_csv(shell.folder / "t.csv", [{"a": "x", "text": "1"}, {"a": "y", "text": "1"}])
    if (verb != "run" and words[:1] == ("run-abc",)) or (verb == "prepare" and said.startswith("column_collision")):
        return  # a request file has no columns

    done = shell.run(verb, *words, "--offline", *(("-o", "out.jsonl") if verb == "prepare" else ()))

    assert done.code == 2, done
    assert any(part in done.err for part in said.split("|")), done.err
    assert not (shell.folder / "out.jsonl").exists()
    assert not list(shell.home.glob("offline/runs/*"))
    assert not list(shell.folder.glob(".gemini*"))


def test_a_request_that_cannot_be_sent_is_named_by_its_row(shell: Shell) -> None:
    """Rows that are skipped count."""
    write_csv(shell.folder / "t.csv", [{"a": a, "t": t} for a, t in (("x", 1), ("", 1), ("", 1), ("y", 1), ("z", 9))])

    done = shell.run("run", "t.csv", "-p", "{{ a }}", "--set", "temperature={{ t }}", "--offline", "-o", "out.csv")

    assert done.code == 2
    assert "Row 5: " in done.err
    assert "Row 3" not in done.err
    assert not (shell.folder / "out.csv").exists()


def test_create_takes_a_table(shell: Shell) -> None:
    write_csv(shell.folder / "t.csv", [{"a": "x"}, {"a": ""}])

    made = shell.run("create", "t.csv", "-p", "{{ a }}", "--offline", "-q")
    assert made.code == 0
    job = made.out.strip()
    assert shell.run("status", job, "--wait", "-q").code == 0
    assert shell.run("results", job, "-o", "out.csv", "-q").code == 1
    assert [row["verdict"] for row in read_csv(shell.folder / "out.csv")] == ["succeeded", "skipped"]
    assert shell.run("create", "t.csv", "-p", "{{ a }}", "--offline", "-q").out.strip() == job


def test_prepare_writes_what_run_sends(shell: Shell) -> None:
    write_csv(shell.folder / "t.csv", [{"a": "x"}, {"a": "y"}])
    ask = ("t.csv", "-p", "Say {{ a }}")

    done = shell.run("prepare", *ask, "-o", "in.jsonl", "--json", "-q").document["result"]
    assert (done["rows"], done["requests"], done["skipped"]) == (2, 2, {})
    assert shell.run("prepare", *ask, "-o", "in.jsonl").code == 0  # the same content
    assert shell.run("prepare", "t.csv", "-p", "Tell {{ a }}", "-o", "in.jsonl").code == 2
    assert shell.run("validate", "in.jsonl").code == 0
    first = summary(shell.run("run", "in.jsonl", "--offline", "-q", "--json", "-o", "out.jsonl"))

    second = summary(shell.run("run", *ask, "--offline", "-q", "--json", "-o", "out.csv"))

    assert second["run"] == first["run"]
    assert [row["a"] for row in read_csv(shell.folder / "out.csv")] == ["x", "y"]
    assert shell.run("prepare", "t.csv", "-p", "Tell {{ a }}", "-o", "in.jsonl", "--force").code == 0


def test_the_library_takes_any_rows(shell: Shell) -> None:
    with gemini_batch.GeminiBatch(offline=True) as batch:
        found = batch.run([{"a": "x", "n": 2**53 + 1}, {"a": None, "n": 1}], prompt="Say {{ a }}", output="one.parquet")
        assert found.summary.skipped == {"EMPTY_PROMPT": 1}
        assert [line["verdict"] for line in found] == ["succeeded", "skipped"]
        batch.run(pl.DataFrame({"a": ["x"], "n": [2**53 + 1]}), prompt="Say {{ a }}", output="two.parquet")
        batch.run(
            sql=f"select a from '{shell.folder}/one.parquet' where n > 1", prompt="Say {{ a }}", output="three.csv"
        )

    assert pq.read_table(shell.folder / "one.parquet").column("n").to_pylist() == [2**53 + 1, 1]
    assert read_csv(shell.folder / "three.csv")[0]["a"] == "x"
    with pytest.raises(TypeError, match="'promt' is not an option; did you mean 'prompt'"):
        gemini_batch.GeminiBatch(offline=True).run([{"a": 1}], prompt="{{ a }}", promt="x")  # type: ignore[call-arg]
