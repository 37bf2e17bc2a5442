"""Comma- and tab-separated files as they should be, and each way in which quotation marks go wrong."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.candidates import CandidateError, lines, open_texts, tables
from audit_cli.records import Candidate, Skipped


@pytest.fixture
def read(tmp_path):
    """Reads bytes as a file of the given name."""

    def of(content, name="f.csv", **options):
        path = tmp_path / name
        path.write_bytes(content)
        return list(open_texts([path], **options))

    return of


def place(result):
    return (result.candidate if isinstance(result, Skipped) else result).line


def test_every_record_after_the_header_is_a_candidate(read):
    assert read(b"id,text\nx,one\n,two\n7,three\n") == [
        Candidate("f.csv", 2, "x", "one"),
        Candidate("f.csv", 3, "f.csv:3", "two"),
        Candidate("f.csv", 4, "7", "three"),
    ]


def test_a_record_has_the_number_of_the_line_where_it_begins(read):
    found = read(b'text,n\n\n"two\nlines",1\n\n\nlast,2\n')
    assert [(c.line, c.text) for c in found] == [(3, "two\nlines"), (7, "last")]


def test_quoted_fields_keep_separators_quotation_marks_and_line_ends(read):
    content = b'text\r\n"a, ""b""\r\nc\rd\n"\r\n'
    assert [c.text for c in read(content)] == ['a, "b"\r\nc\rd\n']


def test_a_column_can_be_asked_for_by_name(read):
    found = read(b"text,Full Body\na,b\n", text_column="Full Body")
    assert [c.text for c in found] == ["b"]


def test_tabs_separate_in_a_tsv_file(read):
    assert [c.text for c in read(b"n\ttext\n1\ta, b\n", "f.tsv")] == ["a, b"]


def test_a_byte_order_mark_is_no_part_of_the_first_column_name(read):
    assert [c.text for c in read(b"\xef\xbb\xbftext\na\n")] == ["a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (b"id,body\n1,a\n", 'no column "text"; there are: id, body; choose one with --text-column'),
        (b"text,text\na,b\n", '2 columns are called "text"'),
        (b"id,text,id\na,b,c\n", '2 columns are called "id"'),
        (b"id;text\n1;a\n", "the separator may be ';' instead of ','"),
        (b'text,"id\na,b\n', "the header cannot be read: a quotation mark is not closed"),
    ],
    ids=["empty", "blank", "no column", "two columns", "two ids", "another separator", "quotes in the header"],
)
def test_a_header_that_does_not_serve_is_refused(read, content, message):
    with pytest.raises(CandidateError, match=message):
        read(content)


def test_a_text_where_a_header_is_expected_is_not_shown(read):
    with pytest.raises(CandidateError) as error:
        read(b"4111 1111 1111 1111,John Doe\n")
    assert "4111" not in str(error.value)
    assert "Doe" not in str(error.value)
    assert "must be a header" in str(error.value)


FAULTS = {
    b'"a" b,1': "a quotation mark inside a quoted field is not doubled in the record of lines 3 to 3",
    b'"a\nb" c,1': "a quotation mark inside a quoted field is not doubled in the record of lines 3 to 4",
    b"a\rb,1": "a carriage return stands outside quotation marks in the record of lines 3 to 3",
    b"a": "the record has 1 field, the header has 2",
    b"a,b,c": "the record has 3 fields, the header has 2",
    b",1": "no text",
    b'"",1': "no text",
    b"   ,1": "no text",
    b'" \n\t",1': "no text",
    b"a\xff,1": "not valid UTF-8",
    b"\xed\xa0\x80,1": "not valid UTF-8",
}


@pytest.mark.parametrize("record", FAULTS, ids=repr)
def test_each_fault_of_a_record_has_its_reason_and_harms_no_other_record(read, record):
    before, bad, after = read(b"text,n\nbefore,1\n" + record + b"\nafter,2\n")
    assert (before.text, after.text) == ("before", "after")
    assert isinstance(bad, Skipped)
    assert (bad.reason, bad.candidate.line) == (FAULTS[record], 3)
    assert (bad.candidate.text, bad.candidate.token_ids) == (None, None)


def test_bytes_that_are_not_utf8_harm_only_the_columns_that_are_read(read):
    assert [c.text for c in read(b"text,n\na,\xff\n")] == ["a"]


def test_a_quotation_mark_that_is_never_closed_is_one_skipped_record(read):
    (bad,) = read(b'text\n"a\nb\nc\n')
    assert bad.reason == "a quotation mark is not closed in the record of lines 2 to 4"


def test_a_nul_is_a_character_like_any_other(read):
    assert [c.text for c in read(b"text\na\0b\n")] == ["a\0b"]


@pytest.mark.parametrize("inside", [b"x" * 50, b"x\n" * 25, b'""x\n' * 25], ids=["a line", "lines", "quotes"])
def test_a_record_that_is_too_long_is_one_skipped_record_and_the_next_is_read(read, monkeypatch, inside):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 16)
    bad, good = read(b'text,n\n"' + inside + b'",1\nnext,2\n')
    assert bad.reason.startswith("the record is longer than 16 bytes (lines 2 to ")
    assert (bad.candidate.line, good.text) == (2, "next")


def test_a_record_without_end_costs_no_more_than_a_bounded_part_of_the_file(read, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 16)
    monkeypatch.setattr(tables, "MAX_DROPPED_BYTES", 40)
    bad, *rest = read(b'text\n"never closed\n' + b"a line\n" * 20)
    assert "longer than 16 bytes" in bad.reason
    assert [r.text for r in rest] == ["a line"] * len(rest)
    assert len(rest) > 10


def test_a_field_may_be_longer_than_the_csv_module_allows_unasked(read):
    assert [len(c.text) for c in read(b"text\n" + b"x" * 900_000 + b"\n")] == [900_000]


@pytest.mark.parametrize(("name", "dialect"), [("f.csv", "excel"), ("f.tsv", "excel-tab")])
@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
            st.text(st.characters(exclude_categories=["Cs"])),
        ),
        max_size=6,
    )
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_what_the_csv_module_writes_is_read_as_it_was_written(tmp_path_factory, name, dialect, rows):
    content = io.StringIO(newline="")
    csv.writer(content, dialect, quoting=csv.QUOTE_ALL).writerows([("text", "other"), *rows])
    path = tmp_path_factory.mktemp("written") / name
    path.write_bytes(content.getvalue().encode())
    found = list(open_texts([path]))
    assert [c.text for c in found] == [text for text, _ in rows]
    assert [place(c) for c in found] == sorted({place(c) for c in found})


@pytest.mark.parametrize("word", ["hunter2", "Geheimnis", "content"])
def test_a_first_line_of_one_word_may_be_a_text_and_is_not_shown(tmp_path, word):
    path = tmp_path / "passwords.csv"
    path.write_text(f"{word}\nletmein\n")
    with pytest.raises(CandidateError) as told:
        list(open_texts([path]))
    assert word not in str(told.value)
    assert "--text-column" in str(told.value)
