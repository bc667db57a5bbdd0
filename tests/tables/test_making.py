"""From rows to requests: templates, settings, keys, and what is not sent."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.errors import InvalidInput, UsageError
from gemini_batch.tables.making.attachments import Attachments
from gemini_batch.tables.making.builder import Builder, Skipped
from gemini_batch.tables.making.prepare import Requests, make_requests
from gemini_batch.tables.making.recipe import Asked, make_recipe
from gemini_batch.tables.making.template import Templates
from gemini_batch.tables.note import SkippedRow
from gemini_batch.tables.sources.snapshot import Given, take_snapshot
from gemini_batch.validation.validate import Checked, check_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def made(folder: Path, rows: Sequence[Mapping[str, Any]], **asked: Any) -> Requests:
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    for left in scratch.iterdir():
        left.unlink()
    recipe = make_recipe(Asked(**asked))
    snapshot = take_snapshot(Given(rows), scratch)
    return make_requests(snapshot, Builder(recipe, tuple(snapshot.columns)), scratch, name="table")


def attached(folder: Path, rows: Sequence[Mapping[str, Any]], **asked: Any) -> Requests:
    """The same with files of ``folder``."""
    scratch = folder / "scratch"
    scratch.mkdir()
    snapshot = take_snapshot(Given(rows), scratch)
    builder = Builder(make_recipe(Asked(**asked)), tuple(snapshot.columns), attach=Attachments(folder).part)
    return make_requests(snapshot, builder, scratch, name="table")


def lines(found: Requests) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in found.path.read_bytes().split(b"\n") if line]
    assert len(read) == found.count
    return read


def skipped(found: Requests) -> list[SkippedRow]:
    return [msgspec.json.decode(line, type=SkippedRow) for line in found.skipped.read_bytes().splitlines()]


def prompts(found: Requests) -> list[str]:
    return [line["request"]["contents"][-1]["parts"][-1]["text"] for line in lines(found)]


# Prompts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "row", "expected"),
    [
        ("Say {{ a }}.", {"a": 'x "y"\n\u2028'}, 'Say x "y"\n\u2028.'),
        ("{{ a }}{{ b }}", {"a": 1, "b": 2.5}, "12.5"),
        ("{{ row['a b'] }}", {"a b": True}, "true"),
        ("{{ a }}", {"a": [1, {"x": "ü"}]}, '[1,{"x":"ü"}]'),
        ("{% if stars > 3 %}good{% else %}bad{% endif %} {{ t|upper }}", {"stars": 4, "t": "x"}, "good X"),
        (
            "{% for f in features %}- {{ f.name }}\n{% endfor %}",
            {"features": [{"name": "a"}, {"name": "b"}]},
            "- a\n- b\n",
        ),
        ("{{ '{{' }} {{ a }}", {"a": "x"}, "{{ x"),
        ("{{ a or 'nothing' }}", {"a": None, "b": "x"}, None),
        ("{{ a }} {{ b }}", {"a": None, "b": "x"}, " x"),
        ("{{ row.items() | list | length }}", {"a": 1, "b": 2}, "2"),
    ],
)
def test_prompts(tmp_path: Path, template: str, row: dict[str, Any], expected: str | None) -> None:
    if expected is None:
        with pytest.raises(UsageError, match=r"No row can be sent\. Row 1 is skipped \(EMPTY_PROMPT\)"):
            made(tmp_path, [row], prompt=template)
    else:
        assert prompts(made(tmp_path, [row], prompt=template)) == [expected]


@pytest.mark.parametrize(
    ("template", "said", "code"),
    [
        ("{{ reveiw }}", "no column `reveiw`", "no_column"),
        ("{{ row['x'] }}", "no column `x`", "no_column"),
        ("{{ review", "not valid", "bad_template"),
        ("{% if review %}", "not valid", "bad_template"),
        ("{{ review|nofilter }}", "not valid", "bad_template"),
        ("the same for all", "uses no column", "no_column"),
        ("", "no prompt|uses no column", None),
    ],
)
def test_a_prompt_that_does_not_fit_is_refused_once(tmp_path: Path, template: str, said: str, code: str | None) -> None:
    with pytest.raises(UsageError, match=said) as found:
        made(tmp_path, [{"review": "x"}] * 3, prompt=template)

    assert not isinstance(found.value, InvalidInput)
    assert code is None or found.value.reason_code == code
    if code == "no_column" and "reveiw" in template:
        assert "Did you mean `review`?" in str(found.value)


@pytest.mark.parametrize(
    "prompt",
    ["{{ unit price }}", "{{ unit-price }}", "{{ unit_price }}", "{{ row['unit prce'] }}", "{{ price }}", "no column"],
)
def test_a_column_whose_name_is_not_an_identifier_is_shown_as_it_must_be_written(tmp_path: Path, prompt: str) -> None:
    column = "unit-price" if "-" in prompt else "unit price"

    with pytest.raises(UsageError) as found:
        made(tmp_path, [{column: "x", "sku": "1"}], prompt=prompt)

    assert f'{{{{ row["{column}"] }}}}' in str(found.value)
    assert ".." not in str(found.value)
    assert prompts(made(tmp_path, [{column: "x", "sku": "1"}], prompt=f'{{{{ row["{column}"] }}}}')) == ["x"]


def test_text_that_is_calculated_with_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as found:
        made(tmp_path, [{"a": "1"}], prompt="{{ a + 1 }}")

    assert "column | float" in str(found.value.problems[0].next)
    assert prompts(made(tmp_path, [{"a": "1"}], prompt="{{ a | float + 1 }}")) == ["2.0"]


@pytest.mark.parametrize("prompt", ["{{ a }} {{ f }}", "{% if f == 0.1 %}{{ a }} {{ f }}{% endif %}"])
def test_a_number_of_32_bits_is_the_decimal_that_it_is_written_as(tmp_path: Path, prompt: str) -> None:
    recipe = make_recipe(Asked(prompt=prompt, key=("f",)))
    snapshot = take_snapshot(Given(pa.table({"a": ["x"], "f": pa.array([0.1], pa.float32())})), tmp_path)

    found = make_requests(snapshot, Builder(recipe, tuple(snapshot.columns)), tmp_path, name="table")

    assert (prompts(found), lines(found)[0]["key"]) == (["x 0.1"], "0.1")


def test_a_row_that_cannot_be_rendered_is_named(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"f": {"name": "a"}}, {"f": {"nam": "b"}}, {"f": {"name": "c"}}]

    with pytest.raises(InvalidInput) as found:
        made(tmp_path, rows, prompt="{{ f.name }}")

    assert [problem.field for problem in found.value.problems] == ["--prompt"]
    assert "Row 2: " in found.value.problems[0].message
    assert "name" in found.value.problems[0].message


@pytest.mark.parametrize(
    "template",
    [
        "{{ a.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{% include '/etc/passwd' %}",
        "{{ a }}{{ range(100_001)|list|length }}",
    ],
)
def test_a_template_reaches_nothing_but_the_row(tmp_path: Path, template: str) -> None:
    with pytest.raises(UsageError):
        made(tmp_path, [{"a": "x"}], prompt=template)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(
    st.lists(st.one_of(TEXT.map(lambda text: text.replace("{", "(")), st.sampled_from([0, 1, 2])), max_size=5),
    st.data(),
)
def test_a_plain_template_is_what_jinja_makes_of_it(pieces: list[str | int], data: st.DataObject) -> None:
    """Concatenation is only a faster way: for any text around any columns, Jinja gives the same."""
    names = ("a", "b", "c")
    text = "".join(piece if isinstance(piece, str) else f"{{{{ {names[piece]} }}}}" for piece in pieces)
    row = [data.draw(st.one_of(TEXT, st.integers(), st.none())) for _ in names]

    compiled = Templates(names).compile(text, "--prompt")

    shown = {name: "" if value is None else value for name, value in zip(names, row, strict=True)}
    assert compiled.render(row) == jinja2.Environment(keep_trailing_newline=True).from_string(text).render(shown)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8))
def test_the_fast_way_makes_the_same_requests(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]]
) -> None:
    """A comment at the end keeps a template from being plain; nothing else changes."""
    rows = [{"a": a, "b": b} for a, b in cells]
    if not any(a.strip() or b.strip() for a, b in cells):
        return
    folder = tmp_path_factory.mktemp("t")

    plain = made(folder, rows, prompt="A {{ a }} and {{ b }}\n", system="Be kind.", set=("topK=4",))
    fast, left_out = plain.path.read_bytes(), skipped(plain)
    slow = made(folder, rows, prompt="A {{ a }} and {{ b }}\n{# #}", system="Be kind.", set=("topK=4",))

    assert slow.path.read_bytes() == fast
    assert skipped(slow) == left_out
    assert all(isinstance(check_line(line, 1), Checked) for line in fast.split(b"\n") if line)


# Rows that are not sent ----------------------------------------------------------------------------------------------


def test_rows_without_content_are_skipped_with_their_reason(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "a", "review": "good", "brand": None},
        {"id": "b", "review": None, "brand": None},
        {"id": "c", "review": " \n", "brand": ""},
        {"id": "d", "review": None, "brand": "x"},
    ]

    found = made(tmp_path, rows, prompt="{{ review }} of {{ brand }}", key=("id",))

    assert [line["key"] for line in lines(found)] == ["a", "d"]
    assert [(row.row, row.key, row.reason) for row in skipped(found)] == [
        (2, "b", "EMPTY_PROMPT"),
        (3, "c", "EMPTY_PROMPT"),
    ]
    assert skipped(found)[0].message == "`review` and `brand` are empty."
    assert found.reasons == {"EMPTY_PROMPT": 2}
    assert found.notes[:2] == (
        "1 row has no value in `brand`; the prompt says nothing there.",
        "1 row has no value in `review`; the prompt says nothing there.",
    )


def test_what_is_skipped_is_said_with_its_first_row(tmp_path: Path) -> None:
    cut = {"verdict": "truncated", "problem": "It was\ncut off. " + "x" * 400}
    rows: list[dict[str, Any]] = [
        {"t": "good", "verdict": "succeeded", "problem": None},
        {"t": "", "verdict": "succeeded", "problem": None},
        {"t": "half", **cut},
        {"t": "half", **cut},
    ]

    said = made(tmp_path, rows, prompt="{{ t }}").notes

    assert "Row 2 is skipped (EMPTY_PROMPT): `t` is empty." in said
    (many,) = [one for one in said if "EARLIER_PROBLEM" in one]
    assert many.startswith(
        "2 rows are skipped (EARLIER_PROBLEM), the first is row 3: An earlier step had a problem with this row: It was "
        "cut off."
    )
    assert len(many) < 400


@pytest.mark.parametrize(
    ("row", "said", "step"),
    [
        ({"t": " ", "photo": None}, "`t` and the attachment are empty", "the right columns"),
        ({"t": "x", "photo": "gone.png"}, "The attachment `gone.png` does not exist", "--attach"),
        ({"t": "x", "photo": "../secret"}, "`../secret` is outside the table's folder", "--attach"),
        ({"t": "x", "photo": None, "verdict": "blocked", "problem": "It was blocked."}, "It was blocked", "retry"),
    ],
)
def test_when_no_row_can_be_sent_the_first_is_named_and_the_next_step_fits(
    tmp_path: Path, row: dict[str, Any], said: str, step: str
) -> None:
    with pytest.raises(UsageError) as found:
        attached(tmp_path, [row], prompt="{{ t }}", attach=("photo",))

    assert found.value.reason_code == "nothing_to_send"
    assert said in str(found.value)
    assert "Row 1 is skipped" in str(found.value)
    assert step in str(found.value.next)


@pytest.mark.parametrize(
    ("cell", "files"),
    [
        ("a.txt", ["A"]),
        (["a.txt"], ["A"]),
        (["a.txt", None, "b.txt"], ["A", "B"]),
        ('["a.txt","b.txt"]', ["A", "B"]),  # as a CSV file holds the list of an earlier step
        ("[]", None),
        ([], []),
        (None, []),
        ('["a.txt", 1]', None),
        ("['a.txt']", None),
    ],
)
def test_a_list_of_paths_attaches_all_of_them(tmp_path: Path, cell: object, files: list[str] | None) -> None:
    """None: the cell is taken for one path, which does not exist."""
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(name.upper())

    found = attached(tmp_path, [{"t": "x", "f": cell}, {"t": "y", "f": "a.txt"}], prompt="{{ t }}", attach=("f",))

    parts = lines(found)[0]["request"]["contents"][0]["parts"]
    texts = [base64.b64decode(part["inlineData"]["data"]).decode() for part in parts[:-1]]
    if files is None:
        assert [(row.row, row.reason) for row in skipped(found)] == [(1, "ATTACHMENT_MISSING")]
    else:
        assert texts == files


def test_one_path_of_a_list_that_is_missing_is_a_problem_of_the_row(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A")

    found = attached(tmp_path, [{"f": ["a.txt", "gone.txt"]}, {"f": ["a.txt"]}], prompt="Read it.", attach=("f",))

    assert found.count == 1
    assert [row.message for row in skipped(found)] == ["The attachment `gone.txt` does not exist."]


def test_rows_with_an_earlier_problem_flow_through(tmp_path: Path) -> None:
    rows = [
        {"text": "x", "verdict": "succeeded", "problem": None, "sum_verdict": "succeeded", "sum_problem": ""},
        {"text": "cut", "verdict": "truncated", "problem": "It was cut off.", "sum_verdict": None, "sum_problem": None},
        {"text": "y", "verdict": "succeeded", "problem": None, "sum_verdict": "blocked", "sum_problem": "No."},
    ]

    found = made(tmp_path, rows, prompt="{{ text }}")

    assert prompts(found) == ["x"]
    assert [row.reason for row in skipped(found)] == ["EARLIER_PROBLEM"] * 2
    assert "It was cut off." in skipped(found)[0].message
    own = made(tmp_path, [{"text": "x", "problem": "a user's own column"}], prompt="{{ text }}")
    assert own.count == 1


# Keys ----------------------------------------------------------------------------------------------------------------


def test_a_derived_key_depends_on_the_request_alone(tmp_path: Path) -> None:
    first = [line["key"] for line in lines(made(tmp_path, [{"a": "x", "n": 1}, {"a": "y", "n": 2}], prompt="{{ a }}"))]
    rows = [{"a": "new", "n": 0}, {"a": "x", "n": 7}, {"a": "y", "n": 8}, {"a": "x", "n": 9}]

    again = [line["key"] for line in lines(made(tmp_path, rows, prompt="{{ a }}"))]

    assert again[1:] == [*first, f"{first[0]}-2"]
    assert len(first[0]) == 20
    changed = lines(made(tmp_path, rows, prompt="{{ a }}", temperature=0.5))
    assert not {line["key"] for line in changed} & set(again)


def test_keys_from_columns(tmp_path: Path) -> None:
    rows = [{"a": "x", "n": 1}, {"a": "x", "n": 2}, {"a": "x", "n": 1}]

    assert [line["key"] for line in lines(made(tmp_path, rows[:2], prompt="{{ a }}", key=("a", "n")))] == ["x|1", "x|2"]
    with pytest.raises(InvalidInput) as found:
        made(tmp_path, rows, prompt="{{ a }}", key=("a", "n"))
    assert [problem.message for problem in found.value.problems] == ["Rows 1 and 3 have the same key 'x|1'."]
    numbered = made(tmp_path, [*rows, {"a": "x|1-2", "n": None}], prompt="{{ a }}", key=("a",), number_duplicates=True)
    assert [line["key"] for line in lines(numbered)] == ["x", "x-2", "x-3", "x|1-2"]
    with pytest.raises(InvalidInput, match="1 problem"):
        made(tmp_path, [{"a": "x", "n": None}], prompt="{{ a }}", key=("n",))
    with pytest.raises(UsageError, match="no column `idd`"):
        made(tmp_path, [{"a": "x", "id": 1}], prompt="{{ a }}", key=("idd",))


def test_a_row_that_is_not_sent_has_a_key_of_its_own_too(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"a": None, "n": 1}, {"a": "x", "n": 1}, {"a": "", "n": 1}]

    with pytest.raises(InvalidInput) as found:
        made(tmp_path, rows, prompt="{{ a }}", key=("n",))
    assert [problem.message for problem in found.value.problems] == [
        "Rows 1 and 2 have the same key '1'.",
        "Rows 1 and 3 have the same key '1'.",
    ]
    numbered = made(tmp_path, rows, prompt="{{ a }}", key=("n",), number_duplicates=True)
    assert [line["key"] for line in lines(numbered)] == ["1-2"]
    assert [row.key for row in skipped(numbered)] == ["1", "1-3"]


@given(st.lists(st.sampled_from(["x", "x-2", "x-3", "y", "x-2-2"]), min_size=1, max_size=12), st.booleans())
def test_numbered_keys_are_unique(tmp_path_factory: pytest.TempPathFactory, names: list[str], derive: bool) -> None:
    rows = [{"k": name, "a": name} for name in names]
    key = () if derive else ("k",)

    keys = [
        line["key"]
        for line in lines(made(tmp_path_factory.mktemp("k"), rows, prompt="{{ a }}", key=key, number_duplicates=True))
    ]

    assert len(set(keys)) == len(keys) == len(names)


# Settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (
            {"temperature": 0.5, "max_output_tokens": 9},
            {"generationConfig": {"temperature": 0.5, "maxOutputTokens": 9}},
        ),
        ({"thinking": "low"}, {"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}}),
        ({"thinking": "off"}, {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}),
        ({"thinking": "128"}, {"generationConfig": {"thinkingConfig": {"thinkingBudget": 128}}}),
        ({"tools": ("google-search", "url_context")}, {"tools": [{"googleSearch": {}}, {"urlContext": {}}]}),
        ({"system": "Be {{ tone }}."}, {"systemInstruction": {"parts": [{"text": "Be kind."}]}}),
        ({"set": ("top_k=40", "seed=1")}, {"generationConfig": {"topK": 40, "seed": 1}}),
        ({"set": ('generationConfig.stopSequences=["END"]',)}, {"generationConfig": {"stopSequences": ["END"]}}),
        ({"set": ("cachedContent=cachedContents/x",)}, {"cachedContent": "cachedContents/x"}),
        ({"set": ("temperature={{ t }}",)}, {"generationConfig": {"temperature": 0.25}}),
        ({"set": ("temperature={{ gone }}", "topK=3")}, {"generationConfig": {"topK": 3}}),
        (
            {"kind": "image", "aspect_ratio": "16:9"},
            {"generationConfig": {"responseModalities": ["TEXT", "IMAGE"], "imageConfig": {"aspectRatio": "16:9"}}},
        ),
        (
            {"kind": "speech", "voice": "{{ voice }}"},
            {
                "generationConfig": {
                    "responseModalities": ["AUDIO"],
                    "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
                }
            },
        ),
    ],
)
def test_settings(tmp_path: Path, asked: dict[str, Any], expected: dict[str, Any]) -> None:
    row = {"a": "x", "tone": "kind", "t": 0.25, "gone": None, "voice": "Kore"}

    found = made(tmp_path, [row], prompt="{{ a }}", **asked)

    request = lines(found)[0]["request"]
    assert request == {"contents": [{"role": "user", "parts": [{"text": "x"}]}], **expected}
    assert isinstance(check_line(found.path.read_bytes().strip(), 1), Checked)


def test_embeddings(tmp_path: Path) -> None:
    found = made(
        tmp_path, [{"a": "x"}], prompt="{{ a }}", kind="embed", dimensions=256, set=("taskType=RETRIEVAL_DOCUMENT",)
    )

    assert lines(found)[0]["request"] == {
        "content": {"parts": [{"text": "x"}]},
        "outputDimensionality": 256,
        "taskType": "RETRIEVAL_DOCUMENT",
    }
    assert isinstance(check_line(found.path.read_bytes().strip(), 1), Checked)


def test_a_request_file(tmp_path: Path) -> None:
    (tmp_path / "ask.toml").write_text(
        """
prompt_file = "prompt.txt"
system = "You review {{ what }}."
key = "id"
tools = ["google-search", { functionDeclarations = [{ name = "f" }] }]

[[examples]]
user = "Great!"
model = "positive"

[generationConfig]
temperature = 0.2
thinkingConfig = { thinkingLevel = "LOW" }

[request]
safetySettings = [{ category = "HARM_CATEGORY_HARASSMENT", threshold = "BLOCK_NONE" }]
"""
    )
    (tmp_path / "prompt.txt").write_text("Classify: {{ review }}\n")

    found = made(
        tmp_path, [{"id": 7, "review": "x", "what": "beds"}], request_file=tmp_path / "ask.toml", temperature=1.0
    )

    assert lines(found) == [
        {
            "key": "7",
            "request": {
                "contents": [
                    {"role": "user", "parts": [{"text": "Great!"}]},
                    {"role": "model", "parts": [{"text": "positive"}]},
                    {"role": "user", "parts": [{"text": "Classify: x"}]},
                ],
                "systemInstruction": {"parts": [{"text": "You review beds."}]},
                "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
                "generationConfig": {"temperature": 1.0, "thinkingConfig": {"thinkingLevel": "LOW"}},
                "tools": [{"googleSearch": {}}, {"functionDeclarations": [{"name": "f"}]}],
            },
        }
    ]
    assert isinstance(check_line(found.path.read_bytes().strip(), 1), Checked)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "There is no prompt"),
        ({"prompt": "x", "prompt_file": Path("p")}, "exclude each other"),
        ({"prompt_file": Path("gone.txt")}, "cannot be read"),
        ({"prompt": "{{ a }}", "thinking": "hard"}, "neither a level nor a budget"),
        ({"prompt": "{{ a }}", "tools": ("web",)}, "no tool 'web'"),
        ({"prompt": "{{ a }}", "set": ("topk",)}, "not PATH=VALUE"),
        ({"prompt": "{{ a }}", "set": ("topkk=1",)}, "Did you mean `topK`"),
        ({"prompt": "{{ a }}", "set": ("topK={{ b }}",)}, "no column `b`"),
        ({"prompt": "{{ a }}", "dimensions": 3}, "needs --kind embed"),
        ({"prompt": "{{ a }}", "voice": "Kore"}, "needs --kind speech"),
        ({"prompt": "{{ a }}", "kind": "embed", "system": "x"}, "cannot be combined with --kind embed"),
        ({"prompt": "{{ a }}", "kind": "embed", "temperature": 1.0}, "cannot be combined with --kind embed"),
        ({"request_file": Path("bad.toml")}, "not TOML"),
        ({"request_file": Path("odd.toml")}, "cannot be used"),
    ],
)
def test_mistakes_of_what_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text("prompt = ")
    Path("odd.toml").write_text("promt = 'x'")

    with pytest.raises(UsageError, match=said):
        made(tmp_path, [{"a": "x"}], **asked)


# The engine's way and ours --------------------------------------------------------------------------------------------

#: A character from every place where escaping, trimming or types could differ.
ODD = [
    *map(chr, range(0x21)),
    "\x7f",
    "\x85",
    "\xa0",
    "\u2028",
    "\ufeff",
    "\ufffe",
    "\U0001f600",
    '"',
    "\\",
    "/",
    "'",
    "é",
    "中",
]
TEXTS = st.none() | st.text(st.sampled_from(ODD) | st.characters(exclude_categories=["Cs"]), max_size=6)


@given(
    rows=st.lists(
        st.fixed_dictionaries({"a": TEXTS, "b": TEXTS, "n": st.none() | st.integers(-(2**63), 2**63 - 1)}), min_size=1
    ),
    prompt=st.sampled_from(["{{ a }}", "It's {{ b }}: {{ a }}\n", '"{{ a }}" {{ n }}', "{{ n }}", "{{ a }}{{ b }}\\"]),
    asked=st.sampled_from(
        [
            {},
            {"kind": "embed"},
            {"system": "It's \U0001f600", "temperature": 0.5},
            {"key": ("a",), "number_duplicates": True},
        ]
    ),
)
def test_the_engine_makes_the_same_requests(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], prompt: str, asked: dict[str, Any]
) -> None:
    found = []
    for patched in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            if patched:
                patch.setattr(Builder, "expression", lambda _self, _types: None)
            try:
                made_now = made(tmp_path_factory.mktemp("same"), rows, prompt=prompt, **asked)
                found.append([made_now.path.read_bytes(), made_now.skipped.read_bytes(), made_now.notes])
            except UsageError as error:
                found.append([str(error)])
    assert found[0] == found[1]


def test_plain_prompts_are_made_by_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the rows that it leaves to us."""
    seen: list[object] = []
    body = Builder.body

    def watched(self: Builder, row: Sequence[Any]) -> bytes | Skipped:
        seen.append(row[1])
        return body(self, row)

    monkeypatch.setattr(Builder, "body", watched)
    texts = ["x", None, "\x01", " ", "中"]
    rows = [{"a": text, "n": number} for number, text in enumerate(texts, 1)]
    found = prompts(made(tmp_path, rows, prompt="{{ n }}: {{ a }}"))
    assert found == ["1: x", "2: ", "3: \x01", "4:  ", "5: 中"]
    assert seen == [2, 3, 4]
