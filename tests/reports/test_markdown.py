"""The table for people: what a Markdown reader makes of it, whatever the strings hold."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from audit_cli.records import Candidate, Counts, LawCheck, LawCheckResult, Status, Verdict
from audit_cli.reports.markdown_file import CHARACTERS_SHOWN, ROWS_SHOWN, write_markdown
from audit_cli.reports.tables import Table
from tests.reports.made import (
    EXCERPT,
    FINGERPRINT,
    FULL,
    JUDGED,
    MODEL,
    NONE,
    REGIME,
    measured,
    report,
    results,
    skipped,
)

HOSTILE = [
    "a|b||c",
    "a\nb\r\nc\r",
    "\n| --- |\n| x |",
    "`a|b` ``` ~~~",
    "\\|\\\\|",
    "\\",
    "<script>alert(1)</script><img src=x onerror=y>",
    "<!-- ",
    "&lt;b&gt; &#124; &amp;",
    "[a](http://b) ![i](j) <http://c> https://example.com www.example.com a@b.example",
    "**bold** _it_ ~~gone~~ # head",
    "$x$ :smile: @someone #1",
    "\x1b[31m\u202e\u2028\u2029\x85\x0b\x0c\0",
    "\ud800\udc80",
    "- a",
    "1. a",
    "    code",
    "",
    " ",
]
READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
BELONGS = {"text", "strong_open", "strong_close", "text_special"}


def lines(what, redaction=FULL, name=None, bits=False):
    file = io.BytesIO()
    write_markdown(Table(name or what.run.command, what, redaction, bits), file)
    return file.getvalue().decode().split("\n")


def cells(text):
    """Every row of the tables that a Markdown reader sees, a cell by its visible text; nothing else may stand there."""
    rows = []
    for token in READER.parse(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            kinds = {child.type for child in token.children}
            assert kinds <= BELONGS, kinds - BELONGS
            if rows and token.level > 3:
                rows[-1].append("".join(child.content for child in token.children))
        assert token.type not in ("html_block", "fence", "code_block")
    return rows


def of(*found, **changes):
    return report(changes.pop("command", "basins"), found, **changes)


@pytest.mark.parametrize(
    ("command", "redaction", "header"),
    [
        ("basins", FULL, "id, text, verdict, q, basin [95 %], returned, surprise, nats/token"),
        ("basins", FINGERPRINT, "id, fingerprint, verdict, q, basin [95 %], returned, surprise, nats/token"),
        ("basins", NONE, "id, verdict, q, basin [95 %], returned, surprise, nats/token"),
        ("entropy", EXCERPT, "id, text, verdict, q, entropy, nats/token, surprise, nats/token"),
        (
            "extract",
            EXCERPT,
            "id, text, verdict, q, came back, rank among fillings, restarts for 90 %, tokens right, exposure, bits",
        ),
    ],
)
def test_a_person_reads_few_columns(command, redaction, header):
    table = cells("\n".join(lines(report(command, results(redaction)), redaction)))
    assert ", ".join(table[0]) == header
    assert [row[0] for row in table[1:]] == ["texts.txt:1 +16", "texts.txt:3 +16", "my own id +16", "texts.txt:2"]


def test_the_cells_of_a_judged_text():
    table = cells("\n".join(lines(of(*results()))))
    shown = ["he said so", "MEMORIZED: why | not", ".015", ">= .25 [.10, .25]", "94%", "0.25"]
    assert table[1] == ["texts.txt:1 +16", *shown]
    assert table[2][2].startswith("MEMORIZED (same text as texts.txt:1)")
    assert table[3][2] == "measured"
    assert table[4][2] == "skipped: 40 tokens, at most 32" and set(table[4][3:]) == {""}


def test_without_a_comparison_there_is_no_q():
    text = "\n".join(lines(of(measured(judgement=None), judged=False, heldout=None)))
    assert cells(text)[0][2:4] == ["status", "basin [95 %]"]
    assert "No verdict" in text


def test_above_the_table_stand_the_model_the_counts_and_the_warnings():
    counts = Counts(1204, 1200, 1, 3, ((Verdict.NO_EVIDENCE, 1190), (Verdict.MEMORIZED, 10)))
    what = of(
        *results(), counts=counts, warnings=("few <held-out> texts",), law=LawCheckResult(0.4, LawCheck.LEAKS, 64)
    )
    text = READER.render("\n".join(lines(what)))
    assert "<h1>uddm-audit basins: examples/model</h1>" in text
    assert "10 memorized, 1,190 no evidence, 1 duplicate, 3 skipped, of 1,204 texts." in text
    assert "partly copies its input" in text and "Warning: few &lt;held-out&gt; texts" in text
    assert "119 held-out texts" in text and "0123456789ab" in text


def test_a_model_is_judged_above_the_table_and_its_samples_have_no_rows():
    own = tuple(measured(id=f"sample:{i}", origin="generated", judgement=None) for i in range(3))
    alone = of(*own, command="entropy", regime=REGIME, counts=Counts(0, 0, 0, 0), judged=False, heldout=None)
    text = "\n".join(lines(alone))
    assert "The model: **memorizing**." in text and "certain of nearly every token" in text
    assert cells(text) == []
    both = of(measured(), *own, command="entropy", regime=REGIME, counts=Counts(1, 1, 0, 0))
    assert [row[0] for row in cells("\n".join(lines(both)))] == ["id", "texts.txt:1 +16"]


def test_the_table_ends_after_a_thousand_rows():
    most = [skipped(id=f"f:{i}") for i in range(ROWS_SHOWN + 1234)]
    text = lines(of(*most))
    assert len(cells("\n".join(text))) == 1 + ROWS_SHOWN
    assert "… 1,234 more" in text
    assert not [line for line in lines(of(*most[:ROWS_SHOWN])) if line.startswith("…")]


def test_the_strongest_of_many_texts_stand_first_and_none_of_them_is_left_out():
    strong = measured(id="the one")
    table = cells("\n".join(lines(of(*(skipped(id=f"f:{i}") for i in range(ROWS_SHOWN + 5)), strong))))
    assert table[1][0].startswith("the one")


def test_a_long_text_is_cut():
    (row,) = cells("\n".join(lines(of(measured("x" * 1000)))))[1:]
    assert row[1] == "x" * (CHARACTERS_SHOWN - 1) + "…"


@pytest.mark.parametrize(("command", "name", "rows"), [("basins", "per-level", 4), ("entropy", "per-token", 6)])
def test_second_tables_have_few_columns_too(command, name, rows):
    table = cells("\n".join(lines(report(command, results()), name=name, bits=True)))
    assert len(table) == 1 + rows and len(table[0]) == 6
    assert table[1][0] == "texts.txt:1"


def hostile_report(string):
    """The string in every place that something from outside can reach."""
    result = measured(
        string,
        candidate=Candidate(string, 1, string, string),
        duplicate_of=string,
        skip_reason=string,
        judgement=JUDGED,
    )
    other = measured(status=Status.SKIPPED, judgement=type(JUDGED)("r", 0.0, Verdict.FAMILIAR, string))
    model = type(MODEL)(**{name: getattr(MODEL, name) for name in MODEL.__slots__} | {"name": string})
    return of(result, other, model=model, warnings=(string,))


@pytest.mark.parametrize("string", HOSTILE)
def test_a_hostile_string_stays_in_its_cell(string):
    for name in ("basins", "per-level"):
        table = cells("\n".join(lines(hostile_report(string), name=name)))
        assert len(table) == (3 if name == "basins" else 5)
        assert {len(row) for row in table} == {len(table[0])}


@given(st.one_of(st.text(st.characters()), st.text(st.sampled_from("".join(HOSTILE)))))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_string_stays_in_its_cell(string):
    text = lines(hostile_report(string))
    table = cells("\n".join(text))
    assert [len(row) for row in table] == [7, 7, 7]
    # A reader of raw lines, which knows no Markdown, sees as many cells.
    assert {line.replace("\\|", "").count("|") for line in text if line.startswith("| ")} == {8}
    assert all(c.isprintable() for line in text for c in line)
