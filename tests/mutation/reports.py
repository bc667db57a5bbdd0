"""Guards of reports: names from outside, and what is not known."""

from __future__ import annotations

from mutation.breakage import Breakage

_SUMS = "tests/report/test_spending.py"
_RUNS = "tests/cli/test_report.py"

REPORTS = (
    Breakage(
        guard="a page of a report escapes names",
        file="report/spending/page.py",
        old="autoescape=True",
        new="autoescape=False",
        tests=(f"{_SUMS}::test_a_page_escapes_every_name",),
    ),
    Breakage(
        guard="no shape of a chart but those that are known reaches the page",
        file="report/spending/charts.py",
        old="if tag not in _TAGS or any(",
        new="if any(",
        tests=(f"{_SUMS}::test_a_page_escapes_every_name",),
    ),
    Breakage(
        guard="the name of a group in a CSV report is no formula",
        file="report/spending/sheet.py",
        old="[harmless(group.name), *",
        new="[group.name, *",
        tests=(f"{_SUMS}::test_csv_runs_no_formula",),
    ),
    Breakage(
        guard="a display name in a CSV report is no formula",
        file="report/spending/sheet.py",
        old="harmless(one.title) if one",
        new="one.title if one",
        tests=(f"{_SUMS}::test_csv_runs_no_formula",),
    ),
    Breakage(
        guard="an unknown amount in a CSV report is empty",
        file="report/spending/sheet.py",
        old="None if used else 0",
        new="0",
        tests=(f"{_SUMS}::test_csv_leaves_empty_what_is_not_known",),
    ),
    Breakage(
        guard="a report replaces only a report",
        file="report/spending/files.py",
        old="if path.exists() and not _is_report(path):",
        new="if path.exists() and path is None:",
        tests=(f"{_SUMS}::test_a_report_replaces_an_earlier_report_and_nothing_else",),
    ),
    Breakage(
        guard="jobs whose answers cannot be read make the amount a least one",
        file="report/spending/sums.py",
        old="self.spend.at_least or bool(self.unread)",
        new="self.spend.at_least",
        tests=(f"{_SUMS}::test_what_is_not_known_is_never_nothing",),
    ),
    Breakage(
        guard="jobs without an answer did not cost nothing",
        file="report/spending/sums.py",
        old="if self.answers or not self.jobs else NOT_KNOWN",
        new="if True else NOT_KNOWN",
        tests=(f"{_SUMS}::test_what_is_not_known_is_never_nothing",),
    ),
    Breakage(
        guard="a damaged run costs a report only its own part",
        file="report/spending/reading.py",
        old="    except StateError as error:\n",
        new="    except ZeroDivisionError as error:\n",
        tests=(f"{_RUNS}::test_a_damaged_run_is_named_and_costs_only_its_own_part",),
    ),
    Breakage(
        guard="a run whose rows are gone is named in a report",
        file="report/spending/reading.py",
        old="any(job.stage is JobStage.COLLECTED for job in jobs)",
        new="False",
        tests=(f"{_RUNS}::test_a_damaged_run_is_named_and_costs_only_its_own_part",),
    ),
    Breakage(
        guard="what an emulator answered elsewhere is not in a report",
        file="report/spending/reading.py",
        old="run is None and found.emulated",
        new="run is None and found.emulated is None",
        tests=(f"{_RUNS}::test_runs_at_another_address",),
    ),
)
