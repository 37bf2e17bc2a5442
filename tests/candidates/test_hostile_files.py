"""Arbitrary bytes as a file of candidates: never an exception, always a result a line, in order."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit_cli.candidates import lines, open_texts
from audit_cli.records import Candidate, Skipped

BOM = b"\xef\xbb\xbf"
PIECES = [
    b"\n", b"\r\n", b"\r", b" ", b"\t", b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xe2\x80\xa8", BOM, b"abc", b"{",
    b"}", b"[", b"]", b'"', b"\\", b"\\ud800", b'"text"', b'"input_ids"', b'"id"', b'"prompt"', b":", b",", b"1", b"-",
    b"1e999", b"NaN", b"null", b"true", b'{"text": "a"}', b'{"input_ids": [1, 2]}', b'{"text": "a", "id": ',
    b'{"text": "a", "prompt": ',
]  # fmt: skip
CONTENT = st.one_of(
    st.binary(max_size=80),
    st.lists(st.sampled_from(PIECES), max_size=15).map(b"".join),
    st.lists(st.sampled_from([b"x", b"xxxxxxx", b"\n", b"\r", b" ", BOM]), max_size=20).map(b"".join),
).filter(lambda content: not content.startswith(tuple(lines.FOREIGN_STARTS)))


def read(content, suffix, limit=None):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        if limit:
            patch.setattr(lines, "MAX_LINE_BYTES", limit)
        path = Path(folder) / f"f{suffix}"
        path.write_bytes(content)
        return list(open_texts([path]))


def numbers_of_filled_lines(content):
    """Numbers of the lines that are not blank, by splitting the whole content at once."""
    return [n for n, line in enumerate(content.removeprefix(BOM).split(b"\n"), start=1) if line.strip()]


def place(result):
    candidate = result.candidate if isinstance(result, Skipped) else result
    return candidate.line


@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
@given(content=CONTENT)
@example(content=BOM + BOM)
@example(content=b'{"text": "a"}\n' + b"[" * 200_000)
@settings(max_examples=400, deadline=None, derandomize=True)
def test_any_bytes_give_one_result_a_line_in_order(suffix, content):
    results = read(content, suffix)
    assert [place(r) for r in results] == numbers_of_filled_lines(content)
    for result in results:
        if isinstance(result, Skipped):
            assert result.reason
            candidate = result.candidate
            assert (candidate.text, candidate.token_ids, candidate.prompt) == (None, None, None)
        else:
            assert isinstance(result, Candidate)
            assert (result.text is None) != (result.token_ids is None)
            assert result.prompt is None or suffix == ".jsonl"


@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
@given(content=CONTENT, limit=st.integers(4, 12))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_over_long_lines_change_no_line_number(suffix, content, limit):
    results = read(content, suffix, limit)
    numbers = [place(r) for r in results]
    rows = content.removeprefix(BOM).split(b"\n")
    # A blank line beyond the limit is not read far enough to be known as blank: it may be reported.
    assert set(numbers) >= set(numbers_of_filled_lines(content))
    assert set(numbers) - set(numbers_of_filled_lines(content)) <= {
        n for n, row in enumerate(rows, start=1) if len(row) > limit
    }
    assert numbers == sorted(set(numbers))
    for result in results:
        row = rows[place(result) - 1].removesuffix(b"\r")
        if isinstance(result, Candidate) and suffix == ".txt":
            assert result.text == row.decode()
        if len(row) > limit:
            assert isinstance(result, Skipped)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n")), max_size=8))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_text_without_line_feeds_is_read_as_it_was_written(texts):
    content = "\n".join(texts).encode()
    expected = {
        n: line.removesuffix(b"\r").decode()
        for n, line in enumerate(content.removeprefix(BOM).split(b"\n"), start=1)
        if line.strip()
    }
    assert {r.line: r.text for r in read(content, ".txt")} == expected
