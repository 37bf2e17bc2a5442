"""Files of candidates as they should be, and each fault that a line or a path can have."""

import json

import pytest

from audit_cli.candidates import CandidateError, files, read_candidates
from audit_cli.records import Candidate, Skipped

BOM = b"\xef\xbb\xbf"


@pytest.fixture
def read(tmp_path):
    """Reads bytes as a file of the given name."""

    def of(content, name="f.txt"):
        path = tmp_path / name
        path.write_bytes(content)
        return list(read_candidates([path]))

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
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 16)
    assert texts(read(b"x" * 16 + end)) == [(1, "x" * 16)]
    assert reason(read(b"x" * 17 + end)[0]) == "the line is longer than 16 bytes"


@pytest.mark.parametrize("length", [17, 32, 33, 34, 49, 1000])
def test_an_over_long_line_is_one_skipped_line_and_the_next_is_read(read, monkeypatch, length):
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 16)
    long, next_line = read(b"x" * length + b"\nnext\n")
    assert (reason(long), long.candidate.line) == ("the line is longer than 16 bytes", 1)
    assert (next_line.line, next_line.text) == (2, "next")


@pytest.mark.parametrize("length", [13, 14, 16, 17, 40])
def test_a_byte_order_mark_does_not_break_an_over_long_first_line_in_two(read, monkeypatch, length):
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 16)
    results = read(BOM + b"x" * length + b"\nnext\n")
    assert [(r.candidate if isinstance(r, Skipped) else r).line for r in results] == [1, 2]
    assert isinstance(results[0], Skipped) or results[0].text == "x" * length


def test_a_carriage_return_does_not_count_against_the_limit(read, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 16)
    assert texts(read(b"x" * 16 + b"\r\n")) == [(1, "x" * 16)]


def test_json_lines_give_texts_ids_and_token_ids(read):
    lines = [
        {"text": "a"},
        {"text": "b", "id": "mine"},
        {"text": "c", "id": 7},
        {"input_ids": [3, 1, 2], "id": "t"},
        {"text": "ignored", "input_ids": [5], "other": {"x": [1]}},
        {"text": "d", "input_ids": None},
    ]
    found = read("\n".join(map(json.dumps, lines)).encode(), "f.jsonl")
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


def test_files_are_read_in_order(tmp_path):
    paths = [tmp_path / "b.txt", tmp_path / "a.jsonl", tmp_path / "b.txt"]
    (tmp_path / "b.txt").write_bytes(b"1\n2")
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "3"}')
    assert [c.text for c in read_candidates(paths)] == ["1", "2", "3", "1", "2"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.txt", "no such file"),
        ("folder.txt", "not a regular file"),
        ("table.csv", "unknown kind of file '.csv'"),
        ("plain", "unknown kind of file ''"),
        ("x" * 300 + ".txt", "x"),
        ("nul\0.txt", "no such file"),
    ],
    ids=["missing", "a folder", "an unknown suffix", "no suffix", "a name that is too long", "a NUL in the name"],
)
def test_a_path_that_cannot_be_read_is_refused_before_any_candidate_is_given(tmp_path, name, message):
    (tmp_path / "folder.txt").mkdir()
    for good in ("good.txt", "table.csv", "plain"):
        (tmp_path / good).write_bytes(b"a\n")
    with pytest.raises(CandidateError, match=message):
        read_candidates([tmp_path / "good.txt", tmp_path / name])
