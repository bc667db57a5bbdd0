"""Every page: its links lead somewhere, its commands and options exist, its code runs, its tables are the program's."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import tomllib
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

import gemini_batch
from docs.pages import LANGUAGES, ROOT, Block, blocks, code, headings, pages, read, slug, without_blocks
from gemini_batch import GeminiBatch, aio, catalog, errors
from gemini_batch import settings as settings_module
from gemini_batch.cli import COMMANDS
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.rows.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import click

    from docs.conftest import Shell
    from gemini_batch.testing import GeminiEmulator

README, DOCS = ROOT / "README.md", ROOT / "docs"
RAN_WHOLE = [ROOT / "SKILL.md", README, *(DOCS / f"{name}.md" for name in ("ledger", "library", "emulator"))]
RAN_WHOLE += [
    DOCS / "webhooks.md",
    DOCS / "tables.md",
    DOCS / "tutorial.md",
    DOCS / "result-line.md",
    DOCS / "memory.md",
    DOCS / "shards.md",
    DOCS / "vertex.md",
    DOCS / "scale-out.md",  # its programs are examples, which tests/engines runs
    DOCS / "costs.md",
    DOCS / "report.md",
    DOCS / "install-skill.md",  # by test_install.py
    DOCS / "attachments.md",
]
RAN_WHOLE.append(DOCS / "local-models.md")  # by tests/emulator/responders
RAN_WHOLE.append(DOCS / "schedulers.md")  # by tests/schedulers
#: A line of code that calls another program, whose words and options are its own.
_OF_OTHERS = re.compile(r"curl|^(npx|claude|codex|gemini|library-skills) ")
each_page = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)


def blocks_in(page: Path, *languages: str) -> list[Block]:
    found = [block for block in blocks(page) if block.language in languages]
    assert found
    return found


# All pages ------------------------------------------------------------------------------------------------------------


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(read(page))):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        there = page.parent / name if name else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in map(slug, headings(read(there))), f"{page.name}: {target}"


@each_page
def test_blocks_say_what_they_are_and_json_is_json(page: Path) -> None:
    assert read(page).count("\n```") == 2 * len(blocks(page)), "a fence is open"
    for block in blocks(page):
        assert block.language in LANGUAGES, block.where
        if block.language == "json":
            assert isinstance(json.loads(block.text), dict), block.where
        if block.language == "jsonl":
            for line in block.text.splitlines():
                assert isinstance(json.loads(line), dict), block.where


@each_page
def test_commands_and_options_exist(page: Path) -> None:
    """``gemini-batch WORD`` in code is a command, and every ``--option`` is one of some command."""
    text = "\n".join(line for line in code(page).splitlines() if not _OF_OTHERS.search(line))
    for word in re.findall(r"gemini-batch ([a-z]+)", text):
        assert word in COMMANDS, f"{page.name}: gemini-batch {word}"
    known = {"--version"}.union(*map(options_of, COMMANDS))
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text):
        assert option in known, f"{page.name}: {option}"


def options_of(command: str) -> set[str]:
    found: click.Command = import_module(f"gemini_batch.cli.{COMMANDS[command][0]}").command
    return {"--help"}.union(*(parameter.opts for parameter in found.params))


def test_the_scripts_take_what_the_skill_promises() -> None:
    assert {"--model", "-m", "--name", "-n"} <= options_of("create")
    assert {"--wait", "-w"} <= options_of("status")
    assert {"--output", "-o"} <= options_of("results")


def test_no_page_and_no_example_imports_an_inner_module() -> None:
    """What they show is public: ``gemini_batch``, its ``aio`` and ``daft``, and the fixture's ``testing``."""
    inner = re.compile(r"(?:from|import) gemini_batch\.(?!aio\b|daft\b|testing\b)|gemini_batch\.(?!aio\.)\w+\.\w+\(")
    places = [(page.name, code(page)) for page in pages()]
    places += [
        (file.name, file.read_text(encoding="utf-8")) for file in (ROOT / "examples").iterdir() if file.is_file()
    ]
    assert [(name, found[0]) for name, text in places for found in inner.finditer(text)] == []


@each_page
def test_public_names_in_programs_are_public(page: Path) -> None:
    """``gemini_batch.NAME`` and ``from gemini_batch import NAME`` in the programs of a page."""
    for block in (block for block in blocks(page) if block.language == "python"):
        used = re.findall(r"\bgemini_batch\.(\w+)", block.text)
        for names in re.findall(r"from gemini_batch import (.+)", block.text):
            used += re.findall(r"\w+", names)
        assert set(used) <= {*gemini_batch.__all__, "daft"}, block.where


@each_page
def test_the_models_named_are_known(page: Path) -> None:
    if page.name == "service.md":  # it tells what others have seen, of models long gone too
        return
    for name in re.findall(r"gemini-(?:\d[\w.]*|embedding|robotics|nano)[\w.-]*", code(page)):
        assert catalog.load().find(name.removesuffix(".")), f"{page.name}: {name}"


def test_the_readme_shows_every_command() -> None:
    """In its table of commands."""
    rows = re.findall(r"^\| (`[a-z`, ]+`) \| [^|]+ \|$", read(README), re.MULTILINE)
    assert {name for names in rows for name in re.findall(r"\w+", names)} == COMMANDS.keys()


def test_the_test_files_that_the_readme_names_exist() -> None:
    for name in re.findall(r"`(tests/[\w/.]*)`", read(README)):
        assert (ROOT / name).exists(), name


# Architecture ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("contract", "table"), [("layers", 0), ("emulator-rooms", 1)])
def test_the_layers_are_those_that_the_linter_checks(contract: str, table: int) -> None:
    """The first column of both tables, top down."""
    section = read(ROOT / "ARCHITECTURE.md").split("## Layers\n", 1)[1].split("\n## ", 1)[0]
    text = section.split("layers of its own")[table]
    told = [re.findall(r"`(\w+)`", cell) for cell in re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)]
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = (one["layers"] for one in configuration["contracts"] if one["id"] == contract)
    assert told == [layer.split(" | ") for layer in layers]


def test_the_modules_that_the_architecture_names_exist() -> None:
    package = ROOT / "src" / "gemini_batch"
    named = set(re.findall(r"\b([a-z]+(?:/[a-z_]+)+(?:\.py)?)\b", code(ROOT / "ARCHITECTURE.md"))) - {"tests/crashes"}
    assert len(named) > 20
    for name in named:
        there = package / name
        assert there.with_suffix(".py").exists() or (ROOT / name).exists(), name


# The README -----------------------------------------------------------------------------------------------------------


def normalised(text: str) -> str:
    """What differs from run to run made equal: names that the service gives, times, what a wait says."""
    text = re.sub(r"batches/[a-z0-9]{36}", "batches/NAME", text)
    text = re.sub(r"\S*gemini-batch retry run-[a-z0-9]{8}", "gemini-batch retry run-NAME", text)
    text = re.sub(r"ended after \d+ s, at \S+", "ended after 0 s, at TIME", text)
    text = re.sub(r"^(JOB_STATE_.* waited \d+ s|\d+ of \d+ requests done .*)\n", "", text, flags=re.MULTILINE)
    return re.sub(r"run-[a-z0-9]{8}", "run-NAME", text).strip()


def test_the_first_minute_prints_what_the_readme_shows(offline_shell: Shell) -> None:
    (transcript,) = blocks_in(README, "console")
    done = offline_shell.run("sh examples/demo.sh 2>&1")
    assert normalised(done.stdout) == normalised(transcript.text)


def test_the_readme_as_written(offline_shell: Shell) -> None:
    """The commands, then the library, in one folder; each finds the job that the one before it made."""
    out, err = "", ""
    for block in blocks_in(README, "bash", "python"):
        if "gemini_emulator" not in block.text:
            done = offline_shell.block(block)
            out, err = out + done.stdout, err + done.stderr
    assert err.count("Created ") == 1
    assert [row["key"] for row in offline_shell.rows("results.jsonl")] == ["sky", "sea"]
    assert "sky This is an offline answer" in out
    answers = pq.read_table(offline_shell.folder / "enriched.parquet").to_pylist()
    assert [(row["id"], row["verdict"]) for row in answers] == [("101", "succeeded"), ("102", "succeeded")]


def test_the_page_on_tables_as_written(offline_shell: Shell) -> None:
    page = DOCS / "tables.md"
    _, tried, prepared, again, chained = blocks_in(page, "bash")
    show, program = blocks_in(page, "python")
    offline_shell.run("set +e\n" + tried.text, code=1)
    first, second, third = offline_shell.block(show).stdout.splitlines()
    assert first.startswith("101 succeeded This is an offline answer")
    assert second == "102 skipped `review` is empty."
    assert third.startswith("103 succeeded ")
    offline_shell.block(prepared)
    run = offline_shell.run("gemini-batch run requests.jsonl -q -o twice.csv", code=1).stdout.strip()
    offline_shell.run(again.text.replace("run-…", run), code=1)
    (offline_shell.folder / "topics.csv").write_text("topic\nbees\ntides\n")
    offline_shell.run(chained.text)
    assert "summary_text,summary_verdict" in (offline_shell.folder / "audio.csv").read_text()
    assert "{'succeeded': 1} {'EMPTY_PROMPT': 1}" in offline_shell.block(program).stdout


def test_the_tutorial_as_written(offline_shell: Shell) -> None:
    """The program, the commands in one shell, and the program that reads the answers."""
    page = DOCS / "tutorial.md"
    make, read_answers = blocks_in(page, "python")
    offline_shell.block(make)
    typed = [block.text for block in blocks_in(page, "bash")]
    first = offline_shell.run("set +e\n" + "\n".join(typed[:-1]))
    assert "valid\n" in first.stdout
    assert first.stdout.endswith("exit code 1\n")
    assert "1 truncated: MAX_TOKENS (keys: story)" in first.stderr
    assert "story -> truncated " in offline_shell.block(read_answers).stdout
    job = f"JOB={first.stdout.split()[1]}\n"
    assert offline_shell.run(job + typed[-1]).stdout.endswith("exit code 0\n")
    assert [row["verdict"] for row in offline_shell.rows("results.jsonl")] == ["succeeded"] * 3


def test_the_page_about_memory_as_written(offline_shell: Shell) -> None:
    """One row, then one more, then both once more."""
    (block,) = blocks_in(DOCS / "memory.md", "bash")
    said = offline_shell.run(block.text).stderr
    assert "1 of 2 requests were answered before; 1 is sent." in said
    assert said.count("requests were answered before") == 1
    assert [row["key"] for row in offline_shell.rows("answers.jsonl")] == ["sky", "sea"]


def test_the_page_about_shards_as_written(offline_shell: Shell) -> None:
    (make,), (block,) = blocks_in(DOCS / "shards.md", "python"), blocks_in(DOCS / "shards.md", "bash")
    offline_shell.block(make)
    shown = offline_shell.run(block.text).stdout.splitlines()
    assert shown[0] == "answers/manifest.jsonl"
    assert [json.loads(line)["verdicts"] for line in shown[1:]] == [{"succeeded": 2}] * 2


def test_the_programs_on_the_page_about_engines_are_the_examples() -> None:
    shown = [block.text for block in blocks_in(DOCS / "scale-out.md", "python")]
    examples = (ROOT / "examples" / f"scale_{engine}.py" for engine in ("daft", "ray", "spark"))
    assert shown == [file.read_text(encoding="utf-8").partition("\n")[2] for file in examples]


def test_the_page_about_costs_as_written(offline_shell: Shell) -> None:
    (program,), (file,) = blocks_in(DOCS / "costs.md", "python"), blocks_in(DOCS / "costs.md", "toml")
    assert offline_shell.python(program.text).stdout.splitlines()[1] == "0.55 USD, interactively 1.10 USD False"
    (offline_shell.folder / "prices.toml").write_text(file.text, encoding="utf-8")
    assert [one.model for one in gemini_batch.load_prices(offline_shell.folder / "prices.toml").own] == [
        "gemini-3.8-flash",
        "gemini-next",
    ]


def test_the_page_about_costs_names_every_kind() -> None:
    named = set(re.findall(r"`([a-z_]+)`", read(DOCS / "costs.md")))
    assert {kind.value for kind in gemini_batch.Kind} <= named


def test_the_page_about_reports_as_written(offline_shell: Shell) -> None:
    """Its commands and its program, over one finished job; and all columns of the table."""
    request = {"key": "a", "request": {"contents": [{"parts": [{"text": "Hello"}]}]}}
    (offline_shell.folder / "in.jsonl").write_text(json.dumps(request), encoding="utf-8")
    offline_shell.run("gemini-batch run in.jsonl -o results.jsonl")
    (commands,), (program,) = blocks_in(DOCS / "report.md", "bash"), blocks_in(DOCS / "report.md", "python")
    table = offline_shell.run(commands.text).stdout
    (shown, *_) = blocks_in(DOCS / "report.md", "text")
    assert shown.text.split()[1:11] == table.splitlines()[0].split()[1:]
    assert (offline_shell.folder / "november.csv").is_file()
    lines = offline_shell.python(program.text).stdout.splitlines()
    assert lines[1].startswith("gemini-3-flash-preview 1 {'input': ")


def test_the_page_about_attachments_as_written(offline_shell: Shell) -> None:
    """Two pictures in three rows, below the folder of the table."""
    (block,) = blocks_in(DOCS / "attachments.md", "bash")
    offline_shell.run(block.text)
    assert [row["verdict"] for row in offline_shell.rows("shop/described.jsonl")] == ["succeeded"] * 3
    requests = offline_shell.home.parent.rglob("requests.jsonl")
    assert sum(file.read_bytes().count(b'"mimeType":"image/png"') for file in requests) == 2


def test_the_page_about_attachments_names_every_reason() -> None:
    source = (ROOT / "src" / "gemini_batch" / "tables" / "making" / "attachments.py").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(ATTACHMENT_\w+)` \|", read(DOCS / "attachments.md"), re.MULTILINE)
    assert set(told) == set(re.findall(r'"(ATTACHMENT_[A-Z_]+)"', source))


def test_the_readers_on_the_page_about_result_lines(offline_shell: Shell) -> None:
    """Both read the same texts with the SDK's types."""
    short = {"generationConfig": {"maxOutputTokens": 8}}
    lines = [
        {"key": k, "request": {"contents": [{"parts": [{"text": k}]}], **more}} for k, more in (("a", {}), ("b", short))
    ]
    (offline_shell.folder / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    offline_shell.run("gemini-batch run in.jsonl -o results.jsonl > run", code=1)
    offline_shell.run("gemini-batch results $(cat run) --raw -o raw.jsonl", code=1)

    of_raw, of_ours = (offline_shell.python(b.text).stdout for b in blocks_in(DOCS / "result-line.md", "python"))

    first, second = of_raw.splitlines()
    assert first.startswith("a This is an offline answer")
    assert second.startswith("b ")
    assert of_ours.splitlines() == [first]


@pytest.mark.parametrize("page", [README, DOCS / "emulator.md"], ids=lambda page: page.name)
def test_the_pytest_examples(page: Path, gemini_emulator: GeminiEmulator) -> None:
    """Run as pytest would: the function, called with the fixture."""
    (block,) = (block for block in blocks_in(page, "python") if "gemini_emulator" in block.text)
    names: dict[str, Any] = {}
    exec(compile(block.text, block.where, "exec"), names)
    (test,) = (value for name, value in names.items() if name.startswith("test_"))
    test(gemini_emulator)


# The other pages ------------------------------------------------------------------------------------------------------


def test_every_block_that_runs_is_run() -> None:
    """A page with runnable blocks is one of those that these tests run."""
    for page in pages():
        if any(block.language in {"bash", "python", "sql"} for block in blocks(page)):
            assert page in RAN_WHOLE or page.name in {"exit-codes.md", "request-format.md"}, page.name


def test_the_library_page_as_written(offline_shell: Shell) -> None:
    """One program, as somebody would try it from top to bottom."""
    done = offline_shell.python("\n".join(block.text for block in blocks_in(DOCS / "library.md", "python")))
    assert "JOB_STATE_SUCCEEDED 2 0" in done.stdout
    assert "question-1 This is an offline answer" in done.stdout
    assert "1 request.contents " in done.stdout
    assert "try again later: The service does not know batches/nobody-knows-this" in done.stdout
    assert "batch 0." in done.stdout
    assert (offline_shell.folder / "my-state" / "offline" / "ledger.db").exists()


def test_the_library_page_names_every_function_and_error() -> None:
    text = read(DOCS / "library.md")
    table = dict(re.findall(r"^\| `(\w+)\(([^)]*)\)` \|", text, re.MULTILINE))
    assert set(table) == set(aio.__all__) - {"AsyncGeminiBatch"}
    for name, arguments in table.items():
        given = re.findall(r"[a-z_]+", arguments)
        assert given == signature(getattr(aio, name)), name
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", text, re.MULTILINE)
    for name, exit_code in rows:
        assert getattr(errors, name).exit_code == int(exit_code), name
    ours = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.Error)}
    raised = {one.__name__ for one in ours - {errors.Error, errors.Interrupted, errors.Terminated}}
    assert {name for name, _ in rows} == raised


def signature(function: Callable[..., Any]) -> list[str]:
    import inspect

    return list(inspect.signature(function).parameters)


def test_the_settings_named_are_read() -> None:
    """Every variable that a page names is one that the program reads, and the library page names them all."""
    sources = (ROOT / "src" / "gemini_batch" / f"{name}.py" for name in ("settings", "vertex_place"))
    source = "\n".join(map(read, sources))
    variable = re.compile(r"\b(?:GOOGLE_(?:API|GEMINI|GENAI)|GEMINI_(?:API|BATCH))_[A-Z_]+\b")
    read_there = set(variable.findall(source))
    assert set(settings_module.KEY_NAMES) < read_there
    for page in pages():
        assert set(variable.findall(code(page))) <= read_there, page.name
    assert set(variable.findall(read(DOCS / "library.md"))) == read_there


def test_the_emulator_page_names_every_option() -> None:
    told = re.findall(r"^\| `(--[a-z-]+)", read(DOCS / "emulator.md"), re.MULTILINE)
    assert sorted(told) == sorted(options_of("emulator") - {"--help", "--debug"})


def test_the_emulator_page_as_written(make_shell: Callable[..., Shell]) -> None:
    shell = make_shell()
    (block,) = blocks_in(DOCS / "emulator.md", "bash")
    done = shell.run(f"trap 'kill $EMULATOR 2>/dev/null || true' EXIT\n{block.text}wait $EMULATOR || true\ntrap - EXIT")
    states = [line for line in done.stdout.splitlines() if line.startswith("JOB_STATE")]
    assert states == ["JOB_STATE_PENDING", "JOB_STATE_SUCCEEDED"]
    assert '"paid":1' in done.stdout.replace(" ", "")


def test_the_webhooks_page_as_written(make_shell: Callable[..., Shell]) -> None:
    """With a port that is free here; the job's end is delivered, and accepted."""
    import socket

    shell = make_shell()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    (block,) = blocks_in(DOCS / "webhooks.md", "bash")
    text = block.text.replace("8787", port).replace("kill $EMULATOR", "")
    asking = 'curl --silent "$GOOGLE_GEMINI_BASE_URL/emulator/webhooks"'
    text = text.replace(f"{asking}; echo", f"until {asking} | grep -q batch.succeeded; do sleep 0.1; done")
    done = shell.run(f"trap 'kill $EMULATOR 2>/dev/null || true' EXIT\n{text}\nkill $EMULATOR; trap - EXIT")
    assert "Listening for webhooks on http://127.0.0.1:" in done.stderr
    assert (shell.folder / "results.jsonl").exists()


def test_the_routes_on_the_emulator_page_are_there(gemini_emulator: GeminiEmulator) -> None:
    import httpx2

    routes = re.findall(r"^\| `(GET|POST) (/emulator/\w+)` \|", read(DOCS / "emulator.md"), re.MULTILINE)
    assert len(routes) == 5
    for method, path in routes:
        body = {"name": "inputs"} if path.endswith("buckets") else {}
        answer = httpx2.request(method, gemini_emulator.url + path, json=body if method == "POST" else None)
        assert answer.status_code == 200, path


def sql_blocks() -> list[Any]:
    found = blocks_in(DOCS / "ledger.md", "sql")
    return [pytest.param(block, id=block.where) for block in found]


@pytest.fixture(scope="module")
def offline_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which a job was made, ended and collected; returns the folder of the offline home."""
    folder = tmp_path_factory.mktemp("ledger")
    here = settings_module.Settings(home=folder / "home", offline=True)
    lines = [
        {"key": f"row-{n}", "request": {"contents": [{"parts": [{"text": f"Review {n}"}]}], "generationConfig": config}}
        for n, config in enumerate([{}, {"maxOutputTokens": 8}, {}])
    ]
    file = folder / "requests.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    with GeminiBatch(here) as batch:
        job = batch.create(file, name="reviews")
        batch.status(job.job, wait=True)
        batch.results(job.job)
    return folder / "home" / "offline"


@pytest.mark.parametrize("block", sql_blocks())
def test_the_questions_on_the_ledger_page_get_answers(block: Block, offline_run: Path) -> None:
    (run,) = (offline_run / "runs").iterdir()
    path = {"ledger.db": offline_run / "ledger.db", "rows.db": run / "rows.db"}[block.heading]
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        assert db.execute(block.text).fetchall()
    db.close()


@pytest.mark.parametrize(("section", "database"), [("ledger.db", Ledger), ("rows.db", Rows)], ids=["ledger", "rows"])
def test_the_tables_on_the_ledger_page_are_the_schema(
    section: str, database: type[Ledger | Rows], tmp_path: Path
) -> None:
    text = read(DOCS / "ledger.md").split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    told: dict[str, list[str]] = {}
    table = ""
    for name, columns in re.findall(r"^\| (?:`(\w+)`)? *\| ([^|]+) \|", text, re.MULTILINE):
        table = name or table
        told.setdefault(table, []).extend(re.findall(r"`(\w+)`", columns))
    database(tmp_path / section).close()
    db = sqlite3.connect(tmp_path / section)
    schema = {
        name: [row[1] for row in db.execute(f"PRAGMA table_info({name})")]
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    }
    views = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'view'")}
    db.close()
    assert {name: sorted(columns) for name, columns in told.items()} == {
        name: sorted(columns) for name, columns in schema.items()
    }
    for view in views:
        assert f"`{view}`" in text


def test_the_home_on_the_ledger_page_is_the_home(offline_run: Path) -> None:
    """Every file of a real run is in the picture."""
    (block,) = blocks_in(DOCS / "ledger.md", "text")
    for folder, _, files in os.walk(offline_run):
        if "emulator" in folder:
            continue
        for name in files:
            shown = re.sub(r"run-\w+", "run-k7m2q9x4", name)
            assert shown.removesuffix("-wal").removesuffix("-shm") in block.text, name


# Exit codes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "says"),
    [
        (0, "all requests succeeded"),
        (1, "some requests failed; their lines have an error"),
        (5, "the job ended without results"),
        (6, "not finished yet"),
        (4, "nothing was fetched; the message above says why"),
    ],
)
def test_the_exit_code_page_tells_the_endings_apart(ending: int, says: str, offline_shell: Shell) -> None:
    """Each fragment of shell with a gemini-batch that ends as it is told to."""
    made, told, cron, strict, pipe = (block.text for block in blocks_in(DOCS / "exit-codes.md", "bash"))
    offline_shell.command("gemini-batch", f"#!/bin/sh\n[ $1 = create ] && echo batches/it && exit 0\nexit {ending}\n")
    assert offline_shell.run(f"{made}echo $JOB").stdout == "batches/it\n"
    assert offline_shell.run(f"set +e; JOB=it\n{told}").stdout == f"{says}\n"
    offline_shell.run(f"set +e; JOB=it\n{cron}exit 9", code={0: ending or 9, 6: 0}.get(ending, 1))
    offline_shell.run(f"JOB=it\n{strict}", code=0 if ending in {0, 1} else 1)
    offline_shell.run(f"JOB=it\n{pipe}", code=0 if ending == 0 else 1)


@each_page
def test_names_in_python_blocks_are_defined(page: Path) -> None:
    """Also in branches that running the page does not reach."""
    code = "\n\n".join(block.text for block in blocks(page) if block.language == "python")

    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "--stdin-filename", "page.py", "-"],
        input=code,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
