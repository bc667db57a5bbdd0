"""What ``-o`` and its companions refuse, and when: whole commands, offline."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

import gemini_batch
from cli.conftest import request
from cli.csv_files import read_csv, write_csv
from gemini_batch.tables.outputs import workbook

if TYPE_CHECKING:
    from cli.conftest import Shell
    from gemini_batch.testing import GeminiEmulator

ASK = ("run", "t.csv", "-p", "Say {{ a }}", "--offline", "-q")


def nothing_was_sent(shell: Shell) -> bool:
    return not list(shell.home.glob("offline/runs/*"))


def test_texts_and_typed_rows_are_read_from_raw_results_too(shell: Shell) -> None:
    write_csv(shell.folder / "t.csv", [{"a": "x"}, {"a": ""}])
    run = shell.run(*ASK).out.strip()

    assert shell.run("results", run, "--raw", "--output-dir", "texts", "-q").code == 1

    (text,) = (shell.folder / "texts").glob("*.txt")
    assert "Say x" in text.read_text(encoding="utf-8")
    found = gemini_batch.results(run, raw=True)
    assert [row.verdict for row in found.rows()] == ["succeeded", "skipped"]
    assert "candidates" in next(iter(found))["response"]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".ndjson", ".db", ".xlsx"])
def test_the_services_own_lines_are_no_table(shell: Shell, ending: str) -> None:
    write_csv(shell.folder / "t.csv", [{"a": "x"}])
    run = shell.run(*ASK).out.strip()

    done = shell.run("results", run, "--raw", "-o", f"out{ending}")

    assert done.code == 2
    assert "--raw" in done.err
    with pytest.raises(gemini_batch.UsageError):
        gemini_batch.results(run, raw=True).write(shell.folder / f"out{ending}")
    assert not (shell.folder / f"out{ending}").exists()


@pytest.mark.parametrize("verb", ["run", "results"])
def test_markdown_needs_a_folder(shell: Shell, verb: str) -> None:
    write_csv(shell.folder / "t.csv", [{"a": "x"}])
    words = ASK if verb == "run" else ("results", "run-abc")

    done = shell.run(*words, "--markdown")

    assert done.code == 2
    assert "--output-dir" in done.err
    assert nothing_was_sent(shell)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("verdict", ("-o", "o.csv")),
        ("model", ("-o", "o.csv", "--details")),
        ("USD", ("-o", "o.jsonl", "--details")),
        ("m_model", ("-o", "o.db", "--details", "--as", "m")),
        ("media", ("-o", "o.csv", "--kind", "image")),
    ],
)
def test_a_name_that_is_taken_is_refused_before_anything_is_sent(
    shell: Shell, column: str, words: tuple[str, ...]
) -> None:
    write_csv(shell.folder / "t.csv", [{"a": "x", column: "1"}])

    done = shell.run(*ASK, *words)

    assert (done.code, column in done.err) == (2, True), done
    assert nothing_was_sent(shell)


@pytest.mark.parametrize(("library", "ending"), [("openpyxl", ".xlsx"), ("duckdb", ".csv"), ("duckdb", ".parquet")])
def test_a_missing_library_is_named_before_anything_is_sent(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, library: str, ending: str
) -> None:
    shell.write("in.jsonl", request("a"))
    monkeypatch.setitem(sys.modules, library, None)

    done = shell.run("run", "in.jsonl", "--offline", "-o", f"out{ending}")

    assert (done.code, "pip install" in done.err) == (2, True), done
    assert nothing_was_sent(shell)


def test_a_table_that_a_format_cannot_hold_is_refused_before_anything_is_sent(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(shell.folder / "t.csv", [{f"c{at}": "x" for at in range(1998)} | {"a": str(row)} for row in range(3)])
    monkeypatch.setattr(workbook, "ROWS", 3)

    assert "SQLite has at most 2,000" in shell.run(*ASK, "-o", "o.db").err
    assert "at most 2 below its header" in shell.run(*ASK, "-o", "o.xlsx").err
    assert nothing_was_sent(shell)
    assert shell.run(*ASK, "-o", "o.xlsx", "--limit", "2").code == 0


@pytest.mark.parametrize(
    ("source", "output"),
    [
        (("t.csv",), "t.csv"),
        (("t.csv",), "link.csv"),
        (("*.csv",), "all.csv"),
        (("**/*.csv",), "sub/all.csv"),
        (("sub",), "sub/out.parquet"),
        (("sub",), "sub/deep/out.csv"),
        (("--sql", "select * from 't.csv'"), "t.csv"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "prepare"])
def test_an_output_never_becomes_a_part_of_its_input(
    shell: Shell, verb: str, source: tuple[str, ...], output: str
) -> None:
    """Even if an earlier command wrote the file: inputs are never changed, and the same command finds the same rows."""
    (shell.folder / "sub" / "deep").mkdir(parents=True)
    (shell.folder / "sub" / "one.txt").write_text("text")
    write_csv(shell.folder / "given.csv", [{"path": "x"}])
    ask = ("-p", "Say {{ path }}", "--as", "n", "-q")
    assert shell.run("run", "given.csv", *ask, "--offline", "-o", "t.csv").code == 0
    (shell.folder / "given.csv").unlink()
    (shell.folder / "link.csv").symlink_to("t.csv")
    before = sorted(shell.home.glob("offline/runs/*")), (shell.folder / "t.csv").read_bytes()
    more = ("--offline", "--as", "again") if verb == "run" else ()

    done = shell.run(verb, *source, *ask, *more, "-o", output, *(("--force",) if verb == "prepare" else ()))

    assert (done.code, "input" in done.err or "read from" in done.err) == (2, True), done
    assert (sorted(shell.home.glob("offline/runs/*")), (shell.folder / "t.csv").read_bytes()) == before


def test_texts_do_not_go_into_the_folder_of_the_input(shell: Shell) -> None:
    (shell.folder / "sub").mkdir()
    (shell.folder / "sub" / "one.txt").write_text("text")
    ask = ("run", "sub", "-p", "Say {{ path }}", "--key", "path", "--offline", "-q", "--output-dir")

    assert shell.run(*ask, "sub/texts").code == 2
    assert nothing_was_sent(shell)
    assert shell.run(*ask, "texts").code == 0


def test_outputs_outside_the_input_are_written(shell: Shell) -> None:
    (shell.folder / "in").mkdir()
    for name in ("in/one.csv", "in/two.csv"):
        write_csv(shell.folder / name, [{"a": name}])
    ask = ("run", "in/*.csv", "-p", "Say {{ a }}", "--offline", "-q")

    for output in ("out.csv", "in/out.parquet", "in/out.csv.parquet"):
        for _ in range(2):
            assert shell.run(*ask, "-o", output).code == 0, output
            assert len(shell.run("list", "--offline", "--json").document["result"]) == 1


@pytest.fixture
def service(gemini_emulator: GeminiEmulator, monkeypatch: pytest.MonkeyPatch) -> GeminiEmulator:
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", gemini_emulator.url)
    monkeypatch.setenv("GEMINI_API_KEY", "any")
    monkeypatch.setenv("GEMINI_BATCH_POLL", "0.01")
    return gemini_emulator


@pytest.mark.parametrize(
    ("scenario", "said"), [("G1", "1 request was blocked by a filter"), ("G13", "2 requests failed for a reason")]
)
def test_what_to_change_is_said_in_words_of_tables(
    shell: Shell, service: GeminiEmulator, scenario: str, said: str
) -> None:
    """Next to a table there is no failures file, and a changed table is run again as it is."""
    write_csv(shell.folder / "t.csv", [{"a": "x"}, {"a": "y"}])
    service.faults.arm(scenario, **({"code": 3} if scenario == "G13" else {}))

    done = shell.run("run", "t.csv", "-p", "Say {{ a }}", "-o", "o.csv")

    assert done.code == 1
    assert said in done.err
    assert "run the table again" in done.err
    assert "failures file" not in done.err


def test_pictures_of_one_step_are_the_attachments_of_the_next(shell: Shell) -> None:
    """Their paths are relative to the table, as those of all attachments are, wherever the command is run."""
    write_csv(shell.folder / "t.csv", [{"a": "x"}, {"a": ""}, {"a": "y"}])
    (shell.folder / "made").mkdir()
    for ending in ("csv", "parquet", "ndjson", "db", "xlsx"):
        table = f"made/pics.{ending}"
        assert shell.run(*ASK, "--kind", "image", "-o", table).code == 1

        ask = ("run", table, "-p", "What is it?", "--attach", "media", "--as", "seen", "--offline", "-q")
        assert shell.run(*ask, "-o", f"seen-{ending}.csv").code == 1

        seen = read_csv(shell.folder / f"seen-{ending}.csv")
        assert [row["seen_verdict"] for row in seen] == ["succeeded", "skipped", "succeeded"], ending
    (paths,) = {row["media"] for row in read_csv(shell.folder / "made" / "pics.csv")[:1]}
    (path,) = msgspec.json.decode(paths)
    assert (shell.folder / "made" / path).is_file()


def test_media_elsewhere_are_named_from_the_working_folder(shell: Shell) -> None:
    write_csv(shell.folder / "t.csv", [{"a": "x"}])
    (shell.folder / "made").mkdir()
    run = shell.run(*ASK, "--kind", "image").out.strip()

    assert shell.run("results", run, "--media-dir", "pictures", "-o", "made/pics.csv").code == 0

    ((path,),) = (msgspec.json.decode(row["media"]) for row in read_csv(shell.folder / "made" / "pics.csv"))
    assert (shell.folder / "made" / path).is_file()


@pytest.mark.parametrize(
    "name", ["o.xls", "o.XLSM", "o.arrow", "o.json", "o.csv.gz", "o.parquet.zip", "o.db::answers", "o.sqlite3::a b"]
)
@pytest.mark.parametrize("verb", ["run", "results"])
def test_a_table_that_is_not_written_is_no_file_of_result_lines(shell: Shell, verb: str, name: str) -> None:
    write_csv(shell.folder / "t.csv", [{"a": "x"}])
    words = ASK if verb == "run" else ("results", "run-abc")

    done = shell.run(*words, "-o", name)

    assert (done.code, "not written in the format" in done.err) == (2, True), done
    assert nothing_was_sent(shell)
    assert not (shell.folder / name).exists()


@pytest.mark.parametrize("name", ["o", "o.txt", "a::b", "a::b.txt", "o.data"])
def test_any_other_name_is_one_of_result_lines(shell: Shell, name: str) -> None:
    write_csv(shell.folder / "t.csv", [{"a": "x"}])

    assert shell.run(*ASK, "-o", name).code == 0

    assert msgspec.json.decode((shell.folder / name).read_bytes())["verdict"] == "succeeded"


def test_a_retry_writes_the_table_as_it_was_written(shell: Shell, service: GeminiEmulator) -> None:
    write_csv(shell.folder / "t.csv", [{"a": "x"}, {"a": "y"}])
    service.faults.arm("G4d")
    done = shell.run("run", "t.csv", "-p", "=1 {{ a }}", "-o", "o.csv", "--details", "--spreadsheet")
    assert done.code == 1
    before = (shell.folder / "o.csv").read_bytes().split(b"\n")[0]
    run = done.out.strip()
    advice = next(line for line in done.err.splitlines() if " retry " in line)
    words = shlex.split(advice.partition("gemini-batch ")[2].partition("  (")[0])
    assert words[words.index("-o") :] == ["-o", "o.csv", "--details", "--spreadsheet"]

    assert shell.run(*words).code == 0

    assert (shell.folder / "o.csv").read_bytes().split(b"\n")[0] == before
    assert b"usd" in before
    assert before.startswith(b"\xef\xbb\xbf")
    found = gemini_batch.results(run, output="again.csv", details=True, spreadsheet=True)
    assert found.summary.all_succeeded


def test_a_retry_refuses_a_name_that_is_taken_before_anything_is_sent(shell: Shell, service: GeminiEmulator) -> None:
    write_csv(shell.folder / "t.csv", [{"a": "x", "usd": "1"}])
    service.faults.arm("G4a")
    run = shell.run("run", "t.csv", "-p", "Say {{ a }}").out.strip()

    done = shell.run("retry", run, "--only", "truncated", "-o", "o.csv", "--details")

    assert (done.code, "'usd'" in done.err) == (2, True), done
    assert len(shell.run("list", "--json").document["result"]) == 1


def test_a_row_that_is_not_sent_has_a_key_of_its_own(shell: Shell) -> None:
    """Whatever it is later: when it has a text, the other rows keep their keys, and their answers."""
    rows = [{"id": "1", "a": ""}, {"id": "1", "a": "x"}, {"id": "2", "a": " "}, {"id": "1", "a": "y"}]
    write_csv(shell.folder / "t.csv", rows)
    ask = (*ASK, "--key", "id", "-o", "o.jsonl")

    assert "Rows 1 and 2 have the same key '1'" in shell.run(*ask).err
    assert nothing_was_sent(shell)
    assert shell.run(*ask, "--key-duplicates", "number").code == 1

    def found() -> list[tuple[str, str]]:
        lines = map(msgspec.json.decode, (shell.folder / "o.jsonl").read_bytes().splitlines())
        return [(line["key"], line["verdict"]) for line in lines]

    keys = [key for key, _ in found()]
    assert len(set(keys)) == 4
    assert [verdict for _, verdict in found()] == ["skipped", "succeeded", "skipped", "succeeded"]
    rows[0]["a"] = "z"
    write_csv(shell.folder / "t.csv", rows)
    assert shell.run(*ask, "--key-duplicates", "number").code == 1
    assert [key for key, _ in found()] == keys
    totals = [job["total"] for job in shell.run("list", "--offline", "--json").document["result"]]
    assert sorted(totals) == [1, 2]


def test_a_run_whose_time_is_over_continues_in_the_same_way(shell: Shell, service: GeminiEmulator) -> None:
    write_csv(shell.folder / "t.csv", [{"a": "x"}])
    service.pace(queue_delay=3600)

    done = shell.run("run", "t.csv", "-p", "Say {{ a }}", "-o", "o.csv", "--details", "--timeout", "1s", "-q")

    assert done.code == 6
    assert "-o o.csv --details" in done.err
