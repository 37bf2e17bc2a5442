"""Any bytes under any suffix: candidates, skipped rows or a CandidateError come out, in little time and memory.

Each test tries EXAMPLES files, the same ones in every run. To search on, set UDDM_FUZZ_TIMES to how many times as many
are wanted, which are then new ones in every run:

    UDDM_FUZZ_TIMES=200 python -m pytest tests/candidates/test_fuzz.py
"""

import csv
import gzip
import io
import json
import os
import resource
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from audit_cli.candidates import CandidateError, open_texts
from audit_cli.candidates.plain import BLANK
from audit_cli.records import Candidate, Skipped

TIMES = os.environ.get("UDDM_FUZZ_TIMES")
EXAMPLES = 150
SUFFIXES = [".txt", ".jsonl", ".csv", ".tsv", ".parquet", ".txt.gz", ".jsonl.gz", ".csv.gz"]
SECRET = "Geheimnis"
# Of CPU time: a hang, not a slow machine.
MOST_SECONDS = 5
MOST_MEGABYTES = 400
fuzzed = settings(
    max_examples=EXAMPLES * int(TIMES or 1),
    deadline=None,
    derandomize=TIMES is None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def table_bytes(**writing):
    table = pa.table(
        {
            "text": [SECRET, None, f"{SECRET} {SECRET}"] * 20,
            "input_ids": [None, [1, 2], [3]] * 20,
            "id": [f"n{i}" for i in range(60)],
            "prompt": [f"{SECRET}: ", None, " "] * 20,
        }
    )
    file = io.BytesIO()
    pq.write_table(table, file, **writing)
    return file.getvalue()


def csv_bytes(dialect):
    file = io.StringIO(newline="")
    csv.writer(file, dialect).writerows(
        [["id", "text", "prompt"], *([i, f'{SECRET} "{i}",\n x', f'{SECRET}?"\n' * (i % 2)] for i in range(20))]
    )
    return file.getvalue().encode()


TXT = "".join(f"{SECRET} {i} ü\n" for i in range(20)).encode()
JSONL = "".join(
    json.dumps({"text": f"{SECRET} \ud800", "id": i, "input_ids": None, "prompt": [f"{SECRET}\udc00", None][i % 2]})
    + "\n"
    for i in range(20)
).encode()
VALID = {
    ".txt": [TXT],
    ".jsonl": [JSONL],
    ".csv": [csv_bytes("excel")],
    ".tsv": [csv_bytes("excel-tab")],
    ".parquet": [
        table_bytes(),
        table_bytes(compression="none", use_dictionary=False, row_group_size=7),
        table_bytes(compression="zstd", data_page_version="2.0", store_schema=False),
        table_bytes(
            compression="gzip",
            column_encoding={"text": "DELTA_BYTE_ARRAY", "prompt": "DELTA_BYTE_ARRAY"},
            use_dictionary=False,
        ),
    ],
    ".txt.gz": [gzip.compress(TXT, mtime=0), gzip.compress(TXT[:50], mtime=0) + gzip.compress(TXT[50:], mtime=0)],
    ".jsonl.gz": [gzip.compress(JSONL, mtime=0)],
    ".csv.gz": [gzip.compress(csv_bytes("excel"), mtime=0)],
}
# Where in the file, how many bytes of it go, and what comes instead.
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.sampled_from([0, 1, 1, 1, 2, 4, 30]),
        st.one_of(
            st.binary(max_size=6),
            st.sampled_from(
                [b"\0", b"\xff" * 5, b"\x7f", b'"', b'""', b",", b"\n", b"\r", b"\t", b"PAR1", b"\xff\xff\xff\xff\x0f"]
            ),
        ),
    ),
    min_size=1,
    max_size=6,
)


def edited(content, edits):
    for where, gone, instead in edits:
        at = round(where * len(content))
        content = content[:at] + instead + content[at + gone :]
    return content


def check(content, suffix, **options):
    """The promise of this room for a file of these bytes."""
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"f{suffix}"
        path.write_bytes(content)
        try:
            opened = open_texts([path], **options)
            results = list(opened)
            assert list(opened) == results
        except CandidateError as error:
            assert str(path) in str(error)
            assert SECRET not in str(error)
            return
    numbers = []
    for result in results:
        if isinstance(result, Skipped):
            assert result.reason
            assert SECRET not in result.reason
            candidate = result.candidate
            assert (candidate.text, candidate.token_ids, candidate.prompt) == (None, None, None)
        else:
            candidate = result
            assert isinstance(candidate, Candidate)
            assert (candidate.text is None) != (candidate.token_ids is None)
            assert candidate.prompt is None or candidate.prompt.strip(BLANK)
        assert isinstance(candidate.id, str)
        numbers.append(candidate.line)
    assert numbers == sorted(set(numbers))
    assert time.process_time() - started < MOST_SECONDS


@pytest.fixture(autouse=True)
def _little_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEGABYTES << 10


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(content=st.binary(max_size=200))
@example(content=b"PAR1\0\0\0\0PAR1")
@fuzzed
def test_any_bytes_under_any_suffix(suffix, content):
    check(content, suffix)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(data=st.data(), edits=EDITS)
@fuzzed
def test_valid_files_with_a_few_bytes_changed(suffix, data, edits):
    check(edited(data.draw(st.sampled_from(VALID[suffix])), edits), suffix)


@pytest.mark.parametrize("kind", ["csv", "tsv"])
@given(pieces=st.lists(st.sampled_from(['"', '""', ",", "\t", "\n", "\r", "\r\n", "a", " ", "\0", "ü", "\ud800"])))
@fuzzed
def test_any_quotation_marks_separators_and_line_ends(kind, pieces):
    body = "".join(pieces).encode("utf-8", "surrogatepass")
    check(b"text\n" + body, f".{kind}")
    for other in ("id", "prompt"):
        check(f"text{',' if kind == 'csv' else chr(9)}{other}\n".encode() + body, f".{kind}")


@given(
    suffix=st.sampled_from(SUFFIXES),
    kind=st.sampled_from(["txt", "jsonl", "csv", "tsv", "parquet"]),
    column=st.sampled_from(["id", "prompt"]),
    edits=EDITS,
)
@fuzzed
def test_a_file_under_a_wrong_kind(suffix, kind, column, edits):
    check(edited(VALID[suffix][0], edits), suffix, kind=kind, text_column=column)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_files_that_are_changed_are_valid(suffix, tmp_path):
    for content in VALID[suffix]:
        (tmp_path / f"f{suffix}").write_bytes(content)
        results = list(open_texts([tmp_path / f"f{suffix}"]))
        assert len(results) >= 20
        assert all(isinstance(r, Candidate) for r in results)
