"""Files of lines as they should be, and each fault that a line can have."""

import json
import tracemalloc

import pytest

from audit_cli.candidates import CandidateError, lines, open_texts
from audit_cli.records import Candidate, Skipped

BOM = b"\xef\xbb\xbf"


@pytest.fixture
def read(tmp_path):
    """Reads bytes as a file of the given name."""

    def of(content, name="f.txt", **options):
        path = tmp_path / name
        path.write_bytes(content)
        return list(open_texts([path], **options))

    return of


def texts(results):
    return [(c.line, c.text) for c in results]


def reason(result):
    assert isinstance(result, Skipped)
    return result.reason


def test_every_line_of_a_text_file_is_a_candidate_named_after_its_place(read):
    assert read(b"one\n two \n") == [
        Candidate("f.txt", 1, "f.txt:1", "one"),
        Candidate("f.txt", 2, "f.txt:2", " two "),
    ]


@pytest.mark.parametrize("content", [b"", b"\n", b"\n\r\n \t\n", BOM, BOM + b"\n"])
@pytest.mark.parametrize("name", ["f.txt", "f.jsonl"])
def test_a_file_of_blank_lines_has_no_candidates(read, content, name):
    assert read(content, name) == []


def test_blank_lines_count_as_lines_but_not_as_candidates(read):
    assert texts(read(b"\na\n\n  \nb")) == [(2, "a"), (5, "b")]


@pytest.mark.parametrize("content", [b"a\r\nb\r\n", b"a\nb\n", b"a\nb", b"a\r\nb", BOM + b"a\r\nb"])
def test_line_ends_and_a_byte_order_mark_are_no_part_of_a_text(read, content):
    assert texts(read(content)) == [(1, "a"), (2, "b")]


def test_a_byte_order_mark_opens_a_file_and_not_a_line(read):
    assert texts(read(BOM + b"a\n" + BOM + b"b")) == [(1, "a"), (2, "\ufeffb")]


def test_only_line_feeds_end_a_line(read):
    assert texts(read("a\rb\x0bc\u2028d\u0085e".encode())) == [(1, "a\rb\x0bc\u2028d\u0085e")]


def test_a_line_that_is_not_utf8_is_skipped_and_the_next_is_read(read):
    bad, good = read(b"abc\xff\ngood")
    assert bad == Skipped(Candidate("f.txt", 1, "f.txt:1"), "not valid UTF-8 (byte 4 of the line)")
    assert good.text == "good"


def test_a_nul_is_a_character_like_any_other(read):
    assert texts(read(b"a\0b\n")) == [(1, "a\0b")]
    assert texts(read(b'{"text": "a\\u0000b"}\n', "f.jsonl")) == [(1, "a\0b")]


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_may_be_as_long_as_the_limit_and_no_longer(read, monkeypatch, end):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 16)
    assert texts(read(b"x" * 16 + end)) == [(1, "x" * 16)]
    assert reason(read(b"x" * 17 + end)[0]) == "the line is longer than 16 bytes"


@pytest.mark.parametrize("length", [17, 32, 33, 34, 49, 1000])
def test_an_over_long_line_is_one_skipped_line_and_the_next_is_read(read, monkeypatch, length):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 16)
    long, next_line = read(b"x" * length + b"\nnext\n")
    assert (reason(long), long.candidate.line) == ("the line is longer than 16 bytes", 1)
    assert (next_line.line, next_line.text) == (2, "next")


@pytest.mark.parametrize("length", [13, 14, 16, 17, 40])
def test_a_byte_order_mark_does_not_break_an_over_long_first_line_in_two(read, monkeypatch, length):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 16)
    results = read(BOM + b"x" * length + b"\nnext\n")
    assert [(r.candidate if isinstance(r, Skipped) else r).line for r in results] == [1, 2]
    assert isinstance(results[0], Skipped) or results[0].text == "x" * length


def test_a_carriage_return_does_not_count_against_the_limit(read, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 16)
    assert texts(read(b"x" * 16 + b"\r\n")) == [(1, "x" * 16)]


def test_json_lines_give_texts_ids_and_token_ids(read):
    objects = [
        {"text": "a"},
        {"text": "b", "id": "mine"},
        {"text": "c", "id": 7},
        {"input_ids": [3, 1, 2], "id": "t"},
        {"text": "ignored", "input_ids": [5], "other": {"x": [1]}},
        {"text": "d", "input_ids": None},
    ]
    found = read("\n".join(map(json.dumps, objects)).encode(), "f.jsonl")
    assert [(c.line, c.id, c.text, c.token_ids) for c in found] == [
        (1, "f.jsonl:1", "a", None),
        (2, "mine", "b", None),
        (3, "7", "c", None),
        (4, "t", None, (3, 1, 2)),
        (5, "f.jsonl:5", None, (5,)),
        (6, "f.jsonl:6", "d", None),
    ]


FAULTS = {
    '{"text": "a': "not valid JSON",
    '{"text": "a"} x': "not valid JSON",
    "{'text': 'a'}": "not valid JSON",
    '{"text": "a", "id": ' + "9" * 5000 + "}": "not valid JSON",
    '{"text": ' + "[" * 100_000: "not valid JSON",
    '{"text": "a", "x": ' + "[" * 100_000 + "]" * 100_000 + "}": "not valid JSON",
    '["a"]': "not a JSON object",
    '"a"': "not a JSON object",
    "null": "not a JSON object",
    "NaN": "not a JSON object",
    "{}": 'no "text" and no "input_ids" field',
    '{"text": ""}': "no text",
    '{"text": "   "}': "no text",
    '{"text": " \\t\\n\\u000b"}': "no text",
    '{"text": null}': '"text" is not a string',
    '{"text": 5}': '"text" is not a string',
    '{"text": ["a"]}': '"text" is not a string',
    '{"text": "a", "id": 1.5}': '"id" is neither a string nor a whole number',
    '{"text": "a", "id": true}': '"id" is neither a string nor a whole number',
    '{"text": "a", "id": ["x"]}': '"id" is neither a string nor a whole number',
    '{"input_ids": "123"}': '"input_ids" is not a list of whole numbers',
    '{"input_ids": {"0": 1}}': '"input_ids" is not a list of whole numbers',
    '{"input_ids": [1, 2.0]}': '"input_ids" is not a list of whole numbers',
    '{"input_ids": [1, true]}': '"input_ids" is not a list of whole numbers',
    '{"input_ids": [1, [2]]}': '"input_ids" is not a list of whole numbers',
    '{"input_ids": [2147483648]}': '"input_ids" is not a list of whole numbers',
}


@pytest.mark.parametrize("line", FAULTS, ids=lambda line: line[:40])
def test_each_fault_of_a_json_line_has_its_reason_and_harms_no_other_line(read, line):
    before, bad, after = read(b'{"text": "a"}\n' + line.encode() + b'\n{"text": "b"}\n', "f.jsonl")
    assert (before.text, after.text) == ("a", "b")
    assert (reason(bad), bad.candidate.line) == (FAULTS[line], 2)
    assert (bad.candidate.text, bad.candidate.token_ids) == (None, None)


def test_lone_surrogates_in_json_escapes_are_kept_for_the_writers_to_escape(read):
    assert texts(read(b'{"text": "a\\ud800b"}', "f.jsonl")) == [(1, "a\ud800b")]
    assert texts(read(b'{"text": "\\ud83d\\ude00"}', "f.jsonl")) == [(1, "😀")]


@pytest.mark.parametrize(
    "line",
    [b'{"text": "\xff"}', b'{"text": "\xed\xa0\x80"}', '{"text": "a"}'.encode("utf-16-le")],
    ids=["a stray byte", "a surrogate in bytes", "UTF-16"],
)
def test_json_that_is_not_utf8_is_skipped(read, line):
    assert isinstance(read(line, "f.jsonl")[0], Skipped)


def test_a_json_field_that_is_asked_for_by_name_is_the_text_whatever_else_there_is(read):
    found = read(b'{"body": "a", "text": "b", "input_ids": [1]}\n{"text": "c"}\n', "f.jsonl", text_column="body")
    assert found[0].text == "a"
    assert reason(found[1]) == 'no "body" field'


def test_a_list_of_token_ids_has_a_longest_length(read, monkeypatch):
    monkeypatch.setattr("audit_cli.candidates.plain.MAX_TOKEN_IDS", 3)
    good, bad = read(b'{"input_ids": [1, 2, 3]}\n{"input_ids": [1, 2, 3, 4]}\n', "f.jsonl")
    assert good.token_ids == (1, 2, 3)
    assert reason(bad) == '"input_ids" holds more than 3 token ids'


@pytest.mark.parametrize("name", ["f.txt", "f.jsonl", "f.csv"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\nb\n".encode("utf-16"), "UTF-16; convert it to UTF-8 first: iconv"),
        (b"\xfe\xff\0a\0\n", "UTF-16"),
        (b"\x1f\x8b\x08\0", "compressed with gzip; its name must end in .gz"),
        (b"PK\x03\x04\x14\0", "a zip archive or an office document"),
    ],
    ids=["UTF-16", "UTF-16, big end first", "gzip", "zip"],
)
def test_a_file_that_is_no_text_is_refused_with_what_it_is(read, name, content, message):
    with pytest.raises(CandidateError, match=message):
        read(content, name)


@pytest.mark.parametrize("name", ["f.txt", "f.csv", "f.jsonl"])
def test_a_hundred_megabytes_without_a_line_end_take_a_few_megabytes(tmp_path, name):
    path = tmp_path / name
    with path.open("wb") as file:
        file.write(b"text\n")
        file.truncate(100 << 20)
        file.seek(0, 2)
        file.write(b"\nlast\n")
    tracemalloc.start()
    try:
        found = list(open_texts([path]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    long = next(r for r in found if (r.candidate if isinstance(r, Skipped) else r).line == 2)
    assert "is longer than 1048576 bytes" in reason(long)
    assert (found[-1].candidate if isinstance(found[-1], Skipped) else found[-1]).line == 3
    assert peak < 16 << 20


@pytest.mark.parametrize("blank", [b"\n", b" \t\r\n"])
@pytest.mark.parametrize("name", ["f.txt", "f.csv", "f.jsonl"])
def test_millions_of_blank_lines_are_passed_over_and_counted(tmp_path, name, blank):
    path = tmp_path / name
    path.write_bytes((b"text\n" if name == "f.csv" else b"\n") + blank * 3_000_000 + b'{"text": "a"}')
    assert [r.line for r in open_texts([path])] == [3_000_002]
