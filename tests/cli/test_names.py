"""Names that a user types for a job: nearly right, a file's, a display name, one of several of a run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from cli.conftest import Shell, request
from gemini_batch.emulator.http.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with serve(tmp_path / "service") as running:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        monkeypatch.setenv("GEMINI_API_KEY", "any")
        yield


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("command", ["status", "results", "cancel"])
def test_a_name_that_the_service_does_not_know(shell: Shell, command: str) -> None:
    """Its answer, so code 4 as for every answer of the service; and what to type."""
    done = shell.run(command, "batches/nobody-knows-this")

    assert (done.code, done.out) == (2, "")
    assert "The service does not know batches/nobody-knows-this with this API key (404)" in done.err
    assert "gemini-batch list" in done.err


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("command", ["status", "results"])
def test_a_slip_in_a_name_is_seen(shell: Shell, command: str) -> None:
    shell.write("in.jsonl", request())
    job = shell.run("create", "in.jsonl").out.strip()

    done = shell.run(command, job[:-1])

    assert done.code == 2
    assert f"Did you mean {job}?" in done.err


@pytest.mark.parametrize("command", ["status", "results", "cancel", "retry"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("in.jsonl", "'in.jsonl' is a file"),
        ("./in.jsonl", "'./in.jsonl' is a file"),
        ("thing", "'thing' is a file"),
        ("results.jsonl", "'results.jsonl' looks like the name of a file, but no such file exists"),
        ("no/where/TABLE.PARQUET", "'no/where/TABLE.PARQUET' looks like the name of a file, but no such file exists"),
        ("table.csv", "'table.csv' is a folder"),
    ],
)
def test_a_file_in_the_place_of_a_job(shell: Shell, command: str, name: str, said: str) -> None:
    """Told from its ending, or because it is there; nobody is asked. What is said of the file is true."""
    shell.write("in.jsonl", request())
    (shell.folder / "thing").write_text("x")
    (shell.folder / "table.csv").mkdir()

    done = shell.run(command, name)

    assert (done.code, done.out) == (2, "")
    assert f"{said}. Expected the name of a job or a run. " in done.err
    assert re.search("Next: .*gemini-batch list", done.err)


@pytest.mark.parametrize("command", ["status", "results", "cancel", "retry"])
def test_an_empty_variable_in_the_place_of_a_job(shell: Shell, command: str) -> None:
    done = shell.run(command, "")

    assert (done.code, done.out) == (2, "")
    assert "The name of the job is empty" in done.err


def test_run_takes_the_name_of_a_job_for_its_run(shell: Shell) -> None:
    shell.write("in.jsonl", request())
    job = shell.run("create", "in.jsonl", "--offline").out.strip()

    done = shell.run("run", job)

    assert done.code == 0, done.err
    assert re.fullmatch(r"run-\w+\n", done.out)


def test_run_does_not_know_a_job_made_elsewhere(shell: Shell) -> None:
    done = shell.run("run", "batches/abc", "--offline")

    assert done.code == 2
    assert "was not made on this machine" in done.err
    assert "gemini-batch adopt batches/abc" in done.err


def test_a_job_of_a_run_answers_by_its_own_name(shell: Shell) -> None:
    shell.write("in.jsonl", request("a"), request("b"), request("c"))
    run = shell.run("run", "in.jsonl", "--offline", "--max-requests-per-job", "2").out.strip()
    jobs = [job["job"] for job in shell.run("status", run, "--json").document["result"]["jobs"]]

    found = [shell.run("results", job, "--job-only") for job in jobs]
    whole = [shell.run("results", job) for job in jobs]

    assert sorted(len(one.out.splitlines()) for one in found) == [1, 2]
    for job, one, all_of_it in zip(jobs, found, whole, strict=True):
        assert (one.code, all_of_it.code) == (0, 0)
        assert len(all_of_it.out.splitlines()) == 3
        assert f"{job} is one of 2 jobs of {run}" in all_of_it.err
        assert f"results {job} --job-only" in all_of_it.err
        assert f"gemini-batch status {run}" in shell.run("status", job).err
