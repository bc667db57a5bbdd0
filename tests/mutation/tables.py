"""Guards of tables: no row is lost, sent in vain, or joined to another row's answer."""

from __future__ import annotations

from mutation.breakage import Breakage

_MAKING = "tests/tables/test_making.py"
_CLI = "tests/cli/test_tables.py"
_ODD = "tests/tables/test_odd_inputs.py"
_SOURCES = "tests/tables/test_sources.py"

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
        old="            if coming is not None and coming.seq == seq:\n",
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
    Breakage(
        guard="rows are read in their order",
        file="tables/sources/duck.py",
        old='"preserve_insertion_order": True',
        new='"preserve_insertion_order": False',
        tests=(f"{_SOURCES}::test_many_rows_stay_in_their_order",),
    ),
    Breakage(
        guard="a record of CSV has as many cells as the header",
        file="tables/sources/snapshot.py",
        old="if len(row) < width or any(row[width:]):",
        new="if len(row) < 0:",
        tests=(f"{_SOURCES}::test_what_is_no_table_is_refused_with_its_place",),
    ),
    Breakage(
        guard="whole numbers of JSON that doubles lack keep their digits",
        file="tables/sources/snapshot.py",
        old="abs({double}) <= 9007199254740992",
        new="abs({double}) <= 1e300",
        tests=(f"{_SOURCES}::test_values_of_json_are_not_changed",),
    ),
    Breakage(
        guard="whole numbers beyond 64 bits keep their digits in the snapshot",
        file="tables/sources/snapshot.py",
        old="return quoted if kept is None else",
        new="return quoted if kept is None or kept else",
        tests=(f"{_SOURCES}::test_sql",),
    ),
    Breakage(
        guard="what Excel escapes is read as the character",
        file="tables/sources/workbook.py",
        old="_unescaped(cell) if isinstance",
        new="cell if isinstance",
        tests=(f"{_SOURCES}::test_what_excel_escapes_is_read_as_the_character",),
    ),
    Breakage(
        guard="times do not depend on where the computer is",
        file="tables/sources/duck.py",
        old="SET TimeZone = 'UTC'",
        new="SET TimeZone = current_setting('TimeZone')",
        tests=("tests/tables/test_round_trips.py::test_times_do_not_depend_on_where_the_computer_is",),
    ),
    Breakage(
        guard="a request that cannot be sent is named by its row",
        file="intake/submission.py",
        old="        raise submission.prepared.in_rows(error) from error\n",
        new="        raise\n",
        tests=(f"{_CLI}::test_a_request_that_cannot_be_sent_is_named_by_its_row",),
    ),
    Breakage(
        guard="rows that are skipped count in the number of a row",
        file="intake/tabular.py",
        old="        line += 1\n    return line\n",
        new="    return line\n",
        tests=(f"{_CLI}::test_a_request_that_cannot_be_sent_is_named_by_its_row",),
    ),
    Breakage(
        guard="the snapshots of a changed table do not pile up",
        file="tables/note.py",
        old="        if other.name != note.name:\n",
        new="        if not other.name:\n",
        tests=("tests/crashes/test_tables.py::test_death_at_every_step[a changed table, to SQLite]",),
    ),
    Breakage(
        guard="--sql is one query, and no statement that writes",
        file="tables/sources/snapshot.py",
        old='    if [statement.type.name for statement in statements] != ["SELECT"]:\n',
        new="    if not statements:\n",
        tests=(f"{_ODD}::test_sql_is_one_query_that_writes_nothing",),
    ),
    Breakage(
        guard="columns of one name in a workbook lose nothing",
        file="tables/sources/workbook.py",
        old="    check_names(header, path)\n",
        new="",
        tests=(f"{_ODD}::test_columns_of_one_name_lose_nothing_in_a_workbook",),
    ),
    Breakage(
        guard="the same row makes the same request, so that nothing is paid for twice",
        file="tables/making/template.py",
        old='        del self._env.globals["lipsum"], self._env.filters["random"]\n',
        new="",
        tests=(f"{_ODD}::test_templates_that_give_another_text_each_time_or_read_files_are_refused",),
    ),
    Breakage(
        guard="a query ends when its command is interrupted",
        file="tables/sources/duck.py",
        old="        with interruptible(made.interrupt):\n",
        new="        with contextlib.nullcontext():\n",
        tests=("tests/tables/test_stopping.py::test_nothing_is_read_once_it_is_told_to_stop",),
    ),
)
