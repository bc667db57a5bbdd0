"""SKILL.md: valid, short, true; and each of its workflows typed as it stands, offline and against a served emulator."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
import shutil
import subprocess
import sys
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from docs.pages import ROOT, blocks, frontmatter, read
from gemini_batch import catalog
from gemini_batch.answers.reasons import VERDICTS
from gemini_batch.emulator.http.server import serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from docs.conftest import Shell

SKILL = ROOT / "SKILL.md"
WORKFLOWS = [
    "1. Basic",
    "2. Bulk content",
    "3. Dataset",
    "4. Email campaign",
    "5. Monitoring without blocking",
    "6. Cheapest",
    "7. Several stages: text, summaries, speech",
]
#: Sections whose blocks begin with a requests.jsonl that the reader has already.
NEED_REQUESTS = {"5. Monitoring without blocking", "6. Cheapest"}
#: What each section leaves behind: result files with their keys.
LEAVES = {
    "A table in, a table out": {},
    "1. Basic": {"results.jsonl": ["req1", "req2"]},
    "2. Bulk content": {"blog-results.jsonl": ["blog-0", "blog-1"]},
    "3. Dataset": {"product-results.jsonl": ["trail-lamp", "desk-lamp"]},
    "4. Email campaign": {"email-results.jsonl": ["email-alice", "email-bob"]},
    "5. Monitoring without blocking": {"results.jsonl": [f"row-{n}" for n in range(8)]},
    "6. Cheapest": {},
    "7. Several stages: text, summaries, speech": {
        "stage1-results.jsonl": ["moon", "tides"],
        "stage2-results.jsonl": ["moon", "tides"],
        "stage3-results.jsonl": ["moon", "tides"],
    },
}


def write_requests(shell: Shell) -> None:
    with (shell.folder / "requests.jsonl").open("w", encoding="utf-8") as file:
        for number in range(8):
            request = {"contents": [{"parts": [{"text": f"Review number {number}: is it kind?"}]}]}
            file.write(json.dumps({"key": f"row-{number}", "request": request}) + "\n")


#: The tables that the commands of the page name.
TABLES = {
    "reviews.csv": "id,review\n1,Bright\n2,\n3,Broke on the second day\n4,Fine\n5,Loud\n6,Soft\n7,Old\n",
    "review.json": json.dumps({"type": "object", "properties": {"tone": {"type": "string"}}, "required": ["tone"]}),
    "topics.csv": "topic\nthe Moon\ntides\n",
    "products.jsonl": '{"name": "lamp", "features": ["oak", "dimmable"]}\n{"name": "desk", "features": []}\n',
    "customers.csv": "id,name,bought\n1,Alice,a tent\n2,Bob,a kayak\n",
}


def write_tables(shell: Shell) -> None:
    for name, text in TABLES.items():
        (shell.folder / name).write_text(text, encoding="utf-8")


def table(shell: Shell, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((shell.folder / name).read_text(encoding="utf-8"), newline="")))


def type_section(shell: Shell, section: str) -> tuple[str, str]:
    """Do everything that a section says; returns stdout and stderr of all of it."""
    if section in NEED_REQUESTS:
        write_requests(shell)
    write_tables(shell)
    found = [block for block in blocks(SKILL) if block.heading == section and block.language in {"bash", "python"}]
    assert found
    code = 1 if section.startswith("A table") else 0  # one row has no text
    done = [shell.run(f"set +e\n{block.text}", code=1) if code else shell.block(block) for block in found]
    for name, keys in LEAVES[section].items():
        rows = shell.rows(name)
        assert [row["key"] for row in rows] == keys
        for row in rows:
            assert row["verdict"] == "succeeded"
            assert "error" not in row
            assert row["response"]["modelVersion"].endswith("@offline")
            assert row["response"]["text"] or row["response"]["media"]
    return "".join(one.stdout for one in done), "".join(one.stderr for one in done)


# The seven workflows --------------------------------------------------------------------------------------------------


def test_there_are_seven_workflows() -> None:
    """And every block of the page that runs belongs to a section that is run below."""
    ran = {block.heading for block in blocks(SKILL) if block.language in {"bash", "python"}}
    assert ran == LEAVES.keys()
    assert [section for section in LEAVES if section[0].isdigit()] == WORKFLOWS


@pytest.mark.parametrize("section", LEAVES)
def test_a_section_as_written_offline(section: str, offline_shell: Shell) -> None:
    out, err = type_section(offline_shell, section)
    assert "offline: " in err
    _look_closer(section, offline_shell, out, err)


@pytest.mark.parametrize("section", [section for section in LEAVES if section != "5. Monitoring without blocking"])
def test_a_section_as_written_against_the_emulator(
    section: str, make_shell: Callable[..., Shell], emulator_url: str
) -> None:
    shell = make_shell(GOOGLE_GEMINI_BASE_URL=emulator_url, GEMINI_API_KEY="AIza-any-key-is-good")
    out, err = type_section(shell, section)
    assert (shell.home / "ledger.db").exists()  # the real path: only the rehearsal was offline
    assert not (shell.home / "offline").exists()
    _look_closer(section, shell, out, err)


def _text(section: str) -> str:
    return "".join(block.text for block in blocks(SKILL) if block.heading == section)


def _look_closer(section: str, shell: Shell, out: str, err: str) -> None:
    if section.startswith("A table"):
        assert [row["id"] for row in table(shell, "trial.csv")] == ["1", "3", "4", "5", "6"]
        rows = table(shell, "enriched.csv")
        assert [(row["id"], row["verdict"]) for row in rows if row["verdict"] != "succeeded"] == [("2", "skipped")]
        assert all(row["tone"] for row in rows if row["verdict"] == "succeeded")
    if section == "6. Cheapest":
        keys = [json.loads(line)["key"] for line in out.splitlines() if line.startswith("{")]
        assert keys == [f"row-{n}" for n in range(8)]
        assert re.search(r"cost: .*\$\d.*batch \(50% less than \$\d.* interactively\)", err)
    if section.startswith("7."):
        for name in ("moon.wav", "tides.wav"):
            with wave.open(str(shell.folder / "audio" / name), "rb") as sound:
                assert (sound.getframerate(), sound.getsampwidth(), sound.getnchannels()) == (24_000, 2, 1)
                assert sound.getnframes() > 0
        media = [row["response"]["media"] for row in shell.rows("stage3-results.jsonl")]
        assert media == [["audio/moon.wav"], ["audio/tides.wav"]]
        lessons = table(shell, "lessons.csv")
        assert [row["topic"] for row in lessons] == ["the Moon", "tides"]
        for row in lessons:
            (path,) = json.loads(row["audio_media"])
            assert (shell.folder / path).read_bytes()[:4] == b"RIFF"


def test_the_watching_loop_on_a_job_that_takes_hours(make_shell: Callable[..., Shell], tmp_path: Path) -> None:
    """Every sleep of a minute moves the service's clock by an hour; the queue takes three of them."""
    with serve(tmp_path / "service", queue_delay=3 * 3600.0) as service:
        shell = make_shell(GOOGLE_GEMINI_BASE_URL=service.url, GEMINI_API_KEY="any")
        program = (
            f"#!{sys.executable}\nfrom urllib.request import Request, urlopen\n"
            f'urlopen(Request("{service.url}/emulator/clock", b\'{{"advance": 3600}}\', '
            '{"Content-Type": "application/json"})).close()\n'
        )
        shell.command("sleep", program)
        out, _ = type_section(shell, "5. Monitoring without blocking")
    looks = [look for look in out.splitlines() if look != "JOB_STATE_RUNNING"]  # a busy machine may see it at work
    assert looks == ["JOB_STATE_PENDING"] * 3 + ["JOB_STATE_SUCCEEDED"]


@pytest.mark.parametrize(
    ("codes", "looks"),
    [
        ("0", 1),  # SUCCEEDED at once
        ("6 6 6 0", 4),
        ("6 5", 2),  # FAILED, EXPIRED or CANCELLED
        ("6 4 6 4 4 0", 6),  # the network was away for a while
        ("2", 1),  # no key, or a name that is none
        ("6 3", 2),
        ("130", 1),  # Ctrl-C
        ("4 " * 40, 30),  # the service never comes back
        ("4 " * 29 + "6 " + "4 " * 29 + "0", 60),  # misses count in a row only
        ("6 " * 3000, 2940),  # a state that never ends
    ],
    ids=lambda value: str(value)[:20],
)
def test_the_watching_loop_always_ends(codes: str, looks: int, offline_shell: Shell) -> None:
    """The loop as written, with commands that do nothing but end with the given codes; then the results are fetched."""
    stand_ins = f"""
        codes=({codes}); looked=0; slept=0
        sleep() {{ [ "$*" = 60 ]; slept=$((slept + 1)); }}
        python() {{
            case "$1 $2" in
                "scripts/create_batch.py requests.jsonl") echo batches/it ;;
                "scripts/check_status.py batches/it")
                    [ "$*" = "scripts/check_status.py batches/it --exit-code" ]
                    looked=$((looked + 1)); return "${{codes[looked - 1]}}" ;;
                "scripts/get_results.py batches/it") echo "fetched after $looked looks" ;;
                *) echo "unexpected: $*"; return 99 ;;
            esac
        }}
    """
    done = offline_shell.run(stand_ins + _text("5. Monitoring without blocking"))
    assert done.stdout == f"fetched after {looks} looks\n"


def test_failed_rows_are_named_and_resent(offline_shell: Shell) -> None:
    """One answer of three is cut off; what the page says resends it, and no other."""
    with (offline_shell.folder / "requests.jsonl").open("w", encoding="utf-8") as file:
        for key, most in (("one", None), ("two", 8), ("three", None)):
            request: dict[str, object] = {"contents": [{"parts": [{"text": "Tell a story."}]}]}
            if most:
                request["generationConfig"] = {"maxOutputTokens": most}
            file.write(json.dumps({"key": key, "request": request}) + "\n")
    told = offline_shell.run(
        "JOB=$(python scripts/create_batch.py requests.jsonl)\n"
        'echo "$JOB" > job\n'
        'python scripts/check_status.py "$JOB" --wait\n'
        'python scripts/get_results.py "$JOB" -o results.jsonl',
        code=1,
    )
    assert "1 truncated: MAX_TOKENS (keys: two)" in told.stderr
    section = read(SKILL).split("## Requests that failed", 1)[1].split("\n## ", 1)[0]
    (command,) = re.findall(r"`(gemini-batch retry JOB [^`]+)`", section)

    again = offline_shell.run(command.replace("JOB", "$(cat job)"))

    assert "Resending 1 request." in again.stderr
    offline_shell.run("python scripts/get_results.py $(cat job) -o results.jsonl")
    assert [row["verdict"] for row in offline_shell.rows("results.jsonl")] == ["succeeded"] * 3


def test_the_workflows_as_one_line_each(offline_shell: Shell) -> None:
    """The commands for tables that stand in the text of the workflows."""
    write_tables(offline_shell)
    lines = re.findall(r"^With a table: `(.+)`$", read(SKILL), re.MULTILINE)
    assert len(lines) == 3

    for line in lines:
        offline_shell.run(line)

    assert ["the Moon" in row["text"] for row in table(offline_shell, "posts.csv")] == [True, False]
    assert [(row["name"], "oak" in row["text"]) for row in table(offline_shell, "texts.csv")] == [
        ("lamp", True),
        ("desk", False),
    ]
    assert [row["id"] for row in table(offline_shell, "emails.csv")] == ["1", "2"]


# The neighbours: the same scripts take images and embeddings ----------------------------------------------------------


def test_images_through_the_three_scripts(offline_shell: Shell) -> None:
    request = {
        "contents": [{"parts": [{"text": "A paper boat."}]}],
        "generationConfig": {"responseModalities": ["TEXT", "IMAGE"], "imageConfig": {"aspectRatio": "16:9"}},
    }
    (offline_shell.folder / "images.jsonl").write_text(json.dumps({"key": "boat", "request": request}) + "\n")
    offline_shell.run(
        "JOB=$(python scripts/create_batch.py images.jsonl --model gemini-3.1-flash-image)\n"
        'python scripts/check_status.py "$JOB" --wait\n'
        'python scripts/get_results.py "$JOB" --output out.jsonl --media-dir pictures'
    )
    (row,) = offline_shell.rows("out.jsonl")
    assert row["response"]["media"] == ["pictures/boat.png"]
    assert (offline_shell.folder / "pictures/boat.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_embeddings_through_the_three_scripts(offline_shell: Shell) -> None:
    """Without --model the kind of the lines chooses the default."""
    with (offline_shell.folder / "texts.jsonl").open("w", encoding="utf-8") as file:
        for key in ("a", "b"):
            request = {"content": {"parts": [{"text": f"title: none | text: {key}"}]}, "outputDimensionality": 16}
            file.write(json.dumps({"key": key, "request": request}) + "\n")
    done = offline_shell.run(
        "JOB=$(python scripts/create_batch.py texts.jsonl)\n"
        'python scripts/check_status.py "$JOB" --wait\n'
        'python scripts/get_results.py "$JOB" --output out.jsonl'
    )
    assert "gemini-embedding-2" in done.stderr
    vectors = {row["key"]: row["response"]["embedding"]["values"] for row in offline_shell.rows("out.jsonl")}
    assert {key: len(vector) for key, vector in vectors.items()} == {"a": 16, "b": 16}


def test_without_the_library_a_script_says_what_to_type(offline_shell: Shell) -> None:
    del offline_shell.env["PYTHONPATH"]
    (offline_shell.folder / "src" / "gemini_batch").mkdir(parents=True)
    (offline_shell.folder / "src" / "gemini_batch" / "__init__.py").touch()
    (offline_shell.bin / "gemini-batch").unlink()
    done = offline_shell.run(f"PATH={offline_shell.bin}; python -S scripts/create_batch.py requests.jsonl", code=3)
    assert done.stdout == ""
    assert re.fullmatch(r"create: .* is not installed\. Type: make -C '.*' setup .*uv run.*\n", done.stderr)


# The page itself ------------------------------------------------------------------------------------------------------


def test_it_is_valid_by_the_rules_of_agent_skills(tmp_path: Path) -> None:
    folder = tmp_path / "gemini-batch"
    folder.mkdir()
    shutil.copy(SKILL, folder)
    validator = Path(sys.executable).with_name("agentskills")
    if not validator.exists():
        pytest.skip("skills-ref is not installed")
    done = subprocess.run([validator, "validate", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_frontmatter_says_what_and_when() -> None:
    matter, _ = frontmatter(SKILL)
    assert re.findall(r"^(\w[\w-]*):", matter, re.MULTILINE) == [
        "name", "description", "license", "compatibility", "metadata"
    ]  # fmt: skip
    assert "name: gemini-batch\n" in matter
    assert "license: MIT\n" in matter
    assert 'version: "1.0.0"\n' in matter
    folded = dict(re.findall(r"^ *([\w-]+): >-\n((?: +\S.*\n)+)", matter, re.MULTILINE))
    description = " ".join(folded["description"].split())
    assert len(description) <= 1024
    assert len(" ".join(folded["compatibility"].split())) <= 500
    for trigger in (
        "batch processing", "bulk requests", "bulk text generation", "JSONL", "async job", "batch job",
        "cost-efficient", "high-volume AI tasks", "parallel processing", "scalable pipelines",
    ):  # fmt: skip
        assert trigger in description
    assert "Use it" in description


def test_it_is_short() -> None:
    """Under 300 lines and 5,000 tokens. A token of such text has about 3.5 characters; 3.2 is on the safe side."""
    _, body = frontmatter(SKILL)
    assert len(body.splitlines()) < 300
    assert len(body) / 3.2 < 5000


def test_the_state_words_and_the_verdicts_are_named() -> None:
    text = read(SKILL)
    for state in ("PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"):
        assert f"`JOB_STATE_{state}`" in text
    for verdict in VERDICTS:
        assert f"`{verdict}`" in text


def test_what_it_says_about_models_is_what_the_catalog_says() -> None:
    rows = re.findall(r"^\| (`gemini-[^|]+) \| [^|]+ \| ([^|]+) \|$", read(SKILL), re.MULTILINE)
    said = {name: words for names, words in rows for name in re.findall(r"`([^`]+)`", names)}
    assert {"gemini-3-flash-preview", "gemini-3-pro-preview", "gemini-2.5-flash", "gemini-2.5-pro"} <= set(said)
    heading = re.search(r"^\| model \| for \| on (\S+) \|$", read(SKILL), re.MULTILINE)
    assert heading
    day = dt.date.fromisoformat(heading[1])
    for name, words in said.items():
        model = catalog.load().find(name)
        assert model, name
        for instead in re.findall(r"`([^`]+)`", words):
            other = catalog.load().find(instead)
            assert other, instead
            assert other.status_on(day) == "current", instead
        match model.status_on(day):
            case "gone":
                assert model.shutdown
                assert words.startswith(f"shut down {model.shutdown.on}: use `")
            case "going":
                assert model.shutdown
                assert words.startswith(f"retires {model.shutdown.on}")
            case status:
                assert (status, words) == ("current", "the default" if name == catalog.DEFAULT_MODEL else "current")
