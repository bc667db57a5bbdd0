"""Guards of tables: no row is lost, sent in vain, or joined to another row's answer."""

from __future__ import annotations

from mutation.breakage import Breakage

_MAKING = "tests/tables/test_making.py"
_CLI = "tests/cli/test_tables.py"

TABLES = (
    Breakage(
        guard="a row without content is not sent",
        file="tables/making/builder.py",
        old="        if not parts and all(is_empty(row[at]) for at in self._says):\n",
        new="        if not parts and all(row is None for at in self._says):\n",
        tests=(f"{_MAKING}::test_rows_without_content_are_skipped_with_their_reason",),
    ),
    Breakage(
        guard="a row with an earlier problem is not sent",
        file="tables/making/builder.py",
        old="            if not is_empty(row[at]):\n",
        new="            if row is None:\n",
        tests=(f"{_MAKING}::test_rows_with_an_earlier_problem_flow_through",),
    ),
    Breakage(
        guard="a row of which one of several attachments cannot be sent is not sent",
        file="tables/making/builder.py",
        old="                if isinstance(part, Skipped):\n",
        new="                if isinstance(part, str):\n",
        tests=(f"{_MAKING}::test_one_path_of_a_list_that_is_missing_is_a_problem_of_the_row",),
    ),
    Breakage(
        guard="nothing is sent for files whose names would be hashes",
        file="async_client.py",
        old="            check_named(file.table)\n",
        new="            pass\n",
        tests=(f"{_CLI}::test_texts_are_named_by_a_key_or_nothing_is_sent",),
    ),
    Breakage(
        guard="a file that is not what its name says is not written",
        file="report/output_files.py",
        old="            check_ending(output)\n",
        new="            pass\n",
        tests=("tests/report/test_output_files.py::test_a_file_is_what_its_name_says",),
    ),
    Breakage(
        guard="a key that is used twice is an error",
        file="tables/making/prepare.py",
        old="        if self._builder.recipe.number_duplicates:\n",
        new="        if True:\n",
        tests=(f"{_MAKING}::test_keys_from_columns",),
    ),
    Breakage(
        guard="the n-th answer belongs to the n-th row that was sent",
        file="report/table_file.py",
        old="            if coming is not None and coming.row.seq == seq:\n",
        new="            if coming is not None:\n",
        tests=(f"{_CLI}::test_a_sample_is_joined_to_its_own_rows",),
    ),
    Breakage(
        guard="the table of a known run is the newest one",
        file="intake/submission.py",
        old="        _keep_table(submission, session.state_folder.run(known.id))\n",
        new="",
        tests=(f"{_CLI}::test_the_same_requests_with_other_columns_have_the_new_columns",),
    ),
    Breakage(
        guard="a template reaches nothing but the row",
        file="tables/making/template.py",
        old="jinja.ImmutableSandboxedEnvironment(",
        new='needed("jinja2", "x").Environment(',
        tests=(f"{_MAKING}::test_a_template_reaches_nothing_but_the_row",),
    ),
)
