"""Prompts beside the texts: read as they were written, none where there is none, and never in a reason."""

import csv
import io
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.candidates import CandidateError, GivenTexts, lines, open_texts
from audit_cli.records import Candidate, Skipped

SECRET = "Geheimnis"
UNICODE = st.text(st.characters(exclude_categories=["Cs"]))
PROMPTS = st.lists(st.one_of(st.none(), UNICODE, st.text(" \t\n\r\v\f", max_size=3)), min_size=1, max_size=8)
checked = settings(max_examples=150, deadline=None, derandomize=True)


def read(content, name, **options):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        return list(open_texts([path], **options))


def as_jsonl(columns, ensure_ascii=True):
    rows = zip(*columns.values(), strict=True)
    objects = (dict(zip(columns, row, strict=True)) for row in rows)
    return "".join(json.dumps(row, ensure_ascii=ensure_ascii) + "\n" for row in objects).encode()


def as_table(columns, dialect="excel"):
    file = io.StringIO(newline="")
    writer = csv.writer(file, dialect, quoting=csv.QUOTE_ALL)
    writer.writerows([columns, *zip(*columns.values(), strict=True)])
    return file.getvalue().encode()


def as_parquet(columns, **writing):
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, **writing)
    return file.getvalue()


def strings(values, kind):
    return pa.array(values, pa.string()).cast(kind)


# How columns with a prompt are written, and as what file.
WRITERS = {
    "jsonl": ("f.jsonl", as_jsonl),
    "jsonl, unescaped": ("f.ndjson", lambda columns: as_jsonl(columns, ensure_ascii=False)),
    "csv": ("f.csv", as_table),
    "tsv": ("f.tsv", lambda columns: as_table(columns, "excel-tab")),
} | {
    f"parquet, {name}": (
        "f.parquet",
        lambda columns, kind=kind: as_parquet(columns | {"prompt": strings(columns["prompt"], kind)}),
    )
    for name, kind in {
        "string": pa.string(),
        "large string": pa.large_string(),
        "dictionary": pa.dictionary(pa.int32(), pa.string()),
        "dictionary of large strings": pa.dictionary(pa.int32(), pa.large_string()),
        "string view": pa.string_view(),
    }.items()
}


def unless_blank(prompt):
    return prompt if prompt and any(c not in " \t\n\r\v\f" for c in prompt) else None


@pytest.mark.parametrize(("name", "write"), WRITERS.values(), ids=WRITERS)
@given(prompts=PROMPTS)
@checked
def test_a_prompt_is_read_as_it_was_written_and_a_blank_one_is_none(name, write, prompts):
    texts = [f"text {i}" for i in range(len(prompts))]
    found = read(write({"prompt": prompts, "text": texts}), name)
    assert [(c.text, c.prompt) for c in found] == [(t, unless_blank(p)) for t, p in zip(texts, prompts, strict=True)]


@pytest.mark.parametrize(("name", "write"), [("f.jsonl", as_jsonl), ("f.parquet", as_parquet)])
@given(prompts=PROMPTS)
@checked
def test_a_prompt_stands_beside_token_ids_too(name, write, prompts):
    ids = [[i, 1] for i in range(len(prompts))]
    columns = {"input_ids": ids, "prompt": prompts}
    if name == "f.parquet":
        columns = {"input_ids": pa.array(ids, pa.list_(pa.int32())), "prompt": pa.array(prompts, pa.string())}
    found = read(write(columns), name)
    expected = [(tuple(i), None, unless_blank(p)) for i, p in zip(ids, prompts, strict=True)]
    assert [(c.token_ids, c.text, c.prompt) for c in found] == expected


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_prompts_are_read_in_every_encoding_and_through_all_row_groups(encoding):
    columns = {"text": [f"text {i}" for i in range(700)], "prompt": [f"prompt {i}" for i in range(700)]}
    how = {"use_dictionary": False, "column_encoding": {"prompt": encoding, "text": "PLAIN"}, "row_group_size": 300}
    assert [(c.text, c.prompt) for c in read(as_parquet(columns, **how), "f.parquet")] == list(
        zip(*columns.values(), strict=True)
    )


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"a\n", "f.txt"),
        (b'prompt\n{"prompt": "p"}\n', "f.txt"),
        (b'{"text": "a"}\n{"text": "a", "prompt": null}\n{"input_ids": [1]}\n', "f.jsonl"),
        (b"text,Prompt\na,p\n", "f.csv"),
        (as_parquet({"text": ["a"]}), "f.parquet"),
    ],
)
def test_there_is_none_where_none_was_given(content, name):
    found = read(content, name)
    assert found
    assert all(isinstance(c, Candidate) and c.prompt is None for c in found)


@pytest.mark.parametrize(("name", "write"), WRITERS.values(), ids=WRITERS)
def test_a_column_of_prompts_that_is_asked_for_as_the_text_is_the_text_alone(name, write):
    found = read(write({"prompt": ["p"], "text": ["a"]}), name, text_column="prompt")
    assert [(c.text, c.prompt) for c in found] == [("p", None)]


@pytest.mark.parametrize(("name", "write"), WRITERS.values(), ids=WRITERS)
def test_a_prompt_stands_beside_a_text_that_is_asked_for_by_name(name, write):
    found = read(write({"prompt": ["p"], "text": ["a"], "body": ["b"], "id": ["x"]}), name, text_column="body")
    assert found == [Candidate(name, 2 if name[2:] in ("csv", "tsv") else 1, "x", "b", None, "p")]


def test_a_candidate_in_memory_keeps_its_prompt():
    own = Candidate("mine", 1, "x", "a text", None, "a prompt")
    assert list(GivenTexts([own])) == [own]


def skipped(result, secret=SECRET):
    """The reason of a candidate that is skipped, with nothing of it in the record."""
    assert isinstance(result, Skipped)
    assert (result.candidate.text, result.candidate.token_ids, result.candidate.prompt) == (None, None, None)
    assert secret not in result.reason
    return result.reason


NO_STRING = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats()),
    lambda inner: st.one_of(
        st.lists(st.one_of(inner, st.just(SECRET))), st.dictionaries(st.text(), st.one_of(inner, st.just(SECRET)))
    ),
    max_leaves=4,
)


@pytest.mark.parametrize("content", [{"text": "a"}, {"input_ids": [1]}])
@given(prompt=NO_STRING)
@checked
def test_a_prompt_in_json_that_is_no_string_skips_its_line_alone(content, prompt):
    before, bad, after = read(
        as_jsonl({"text": ["a"]}) + json.dumps(content | {"prompt": prompt}).encode() + b"\n" + b'{"text": "b"}\n',
        "f.jsonl",
    )
    assert (before.text, after.text) == ("a", "b")
    assert (skipped(bad), bad.candidate.line) == ('"prompt" is not a string', 2)


@given(start=UNICODE, end=UNICODE, bad=st.sampled_from([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80"]))
@checked
def test_a_prompt_that_is_not_utf8_skips_its_candidate_alone(start, end, bad):
    prompt = (start + SECRET).encode() + bad + (" " + end).encode()
    before, csv_bad, after = read(b'text,prompt\na,\nb,"' + prompt.replace(b'"', b'""') + b'"\nc,d\n', "f.csv")
    assert (before.prompt, skipped(csv_bad), after.prompt) == (None, "not valid UTF-8", "d")
    line = b'{"text": "a", "prompt": "' + prompt.replace(b"\n", b"") + b'"}'
    assert skipped(read(line, "f.jsonl")[0]).startswith("not valid UTF-8 (byte ")
    column = pa.array([b"good", prompt, None]).cast(pa.string(), safe=False)
    before, parquet_bad, after = read(as_parquet({"text": ["a", "b", "c"], "prompt": column}), "f.parquet")
    assert (before.prompt, after.prompt) == ("good", None)
    place = len((start + SECRET).encode()) + 1
    assert skipped(parquet_bad) == f"not valid UTF-8 (byte {place} of the prompt)"


def test_lone_surrogates_in_json_escapes_are_kept_as_those_of_a_text_are():
    assert [c.prompt for c in read(b'{"text": "a", "prompt": "b\\ud800"}', "f.jsonl")] == ["b\ud800"]


def test_a_prompt_may_be_as_long_as_a_text_and_no_longer(monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 40)
    columns = {"text": ["a", "b"], "prompt": ["x" * 40, SECRET + "x" * 40]}
    good, bad = read(as_parquet(columns), "f.parquet")
    assert (good.prompt, skipped(bad)) == ("x" * 40, "the prompt is longer than 40 bytes")
    good, bad = read(b"text,prompt\na,b\na," + b"x" * 40 + b"\n", "f.csv")
    assert (good.prompt, skipped(bad)) == ("b", "the record is longer than 40 bytes (lines 3 to 3)")
    good, bad = read(as_jsonl({"text": ["a", "a"], "prompt": ["b", "x" * 40]}), "f.jsonl")
    assert (good.prompt, skipped(bad)) == ("b", "the line is longer than 40 bytes")


def test_a_candidate_without_a_text_is_skipped_whatever_its_prompt():
    for name, write in WRITERS.values():
        assert skipped(read(write({"text": [" "], "prompt": [SECRET]}), name)[0]) == "no text"


@pytest.mark.parametrize(
    ("column", "kind"),
    [([1], "int64"), ([SECRET.encode()], "binary"), ([[SECRET]], "list<"), ([{"role": SECRET}], "struct<")],
)
def test_a_parquet_column_of_prompts_of_a_wrong_type_is_refused_with_its_type(column, kind):
    with pytest.raises(CandidateError, match=f'the column "prompt" is of type {kind}.*; strings are expected') as error:
        read(as_parquet({"text": ["a"], "prompt": column}), "f.parquet")
    assert SECRET not in str(error.value)
    assert len(read(as_parquet({"text": ["a"], "prompts": column}), "f.parquet")) == 1


def test_two_columns_of_prompts_are_refused():
    table = pa.table([pa.array(["a"])] * 3, names=["text", "prompt", "prompt"])
    file = io.BytesIO()
    pq.write_table(table, file)
    for content, name in [(b"text,prompt,prompt\na,b,c\n", "f.csv"), (file.getvalue(), "f.parquet")]:
        with pytest.raises(CandidateError, match='2 columns are called "prompt"'):
            read(content, name)
