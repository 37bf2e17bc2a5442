"""The pages of a Parquet chunk are walked before Arrow takes the memory that they claim."""

import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit_cli.candidates import open_texts
from audit_cli.candidates.errors import CandidateError
from audit_cli.candidates.parquet_footer import MAX_PAGES, Chunk, check_pages


def number(value):
    """A whole number as Thrift's compact protocol has it."""
    value, out = (value << 1) ^ (value >> 63), b""
    value &= (1 << 64) - 1
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def page(uncompressed, compressed, values, kind=5):
    """A page header: type, both sizes, and at field `kind` a struct whose first field is the number of values."""
    fields = b"\x15" + number(0) + b"\x15" + number(uncompressed) + b"\x15" + number(compressed)
    return fields + bytes([(kind - 3) << 4 | 12]) + b"\x15" + number(values) + b"\x00\x00" + b"." * max(0, compressed)


def walk(content, values=10, size=100):
    check_pages([Chunk(("text",), False, values, size, 0, len(content))], lambda at, n: content[at : at + n])


def test_pages_within_what_the_chunk_claims_are_walked():
    walk(page(40, 12, 4) + page(50, 0, 6, kind=8))
    walk(page(40, 12, 3, kind=7) + page(50, 7, 10))
    # What stands behind the last value is nobody's business.
    walk(page(40, 12, 10) + b"\xff" * 50)


@pytest.mark.parametrize(
    "content",
    [
        page((1 << 31) - 1, 12, 10),
        page(101, 12, 10),
        page(60, 1, 5) + page(60, 1, 5),
        page(60, 1, 11),
        page(60, 1, -1),
        page(-1, 1, 5),
        page(5, -40, 5),
        page(60, 1, 101, kind=7),
        page(0, 0, 0) * (MAX_PAGES + 1),
    ],
)
def test_pages_that_claim_more_are_refused(content):
    with pytest.raises(ValueError, match=r"more"):
        walk(content)


@pytest.mark.parametrize("content", [b"", b"\x15", page(60, 1, 5)[:3], b"\x00", b"\xff" * 40, page(60, 1, 5) + b"\x1c"])
def test_damaged_headers_raise_what_damaged_footers_do(content):
    with pytest.raises((ValueError, IndexError, KeyError, TypeError)):
        check_pages([Chunk(("text",), False, 10, 100, 0, 1 << 20)], lambda at, n: content[at : at + n])


def test_pages_are_counted_over_all_chunks():
    empty = page(0, 0, 0)
    half = empty * (MAX_PAGES // 2 + 1)
    chunks = [Chunk(("text",), False, 1, 1, i * len(half), (i + 1) * len(half)) for i in range(2)]
    with pytest.raises(ValueError, match="more pages"):
        check_pages(chunks, lambda at, n: (half + half)[at : at + n])


def test_chunks_lie_side_by_side():
    content = page(40, 12, 10)
    for start, stop in ((0, len(content)), (len(content) - 1, 2 * len(content)), (30, 20)):
        one = Chunk(("text",), False, 10, 100, 0, len(content))
        with pytest.raises(ValueError, match="over each other"):
            check_pages([one, Chunk(("id",), False, 10, 100, start, stop)], lambda at, n: content[at : at + n])


def test_a_header_of_a_thousand_values_is_none():
    """A list of small numbers in a field that nobody knows: read again and again it would take hours."""
    long_list = bytes([9 << 4 | 9, 15 << 4 | 5]) + b"\x90\x4e" + b"\x02" * 10_000
    start = time.process_time()
    with pytest.raises(ValueError, match="too much"):
        walk(long_list + page(40, 12, 10))
    assert time.process_time() - start < 1


def test_a_forged_size_in_a_file_takes_no_memory(tmp_path):
    """The claim of the only page is raised to what its two bytes can hold."""
    path = tmp_path / "f.parquet"
    pq.write_table(
        pa.table({"text": ["x" * 3000]}), path, compression="none", use_dictionary=False, write_statistics=False
    )
    claim = pq.ParquetFile(path).metadata.row_group(0).column(0)
    content = path.read_bytes()
    start = claim.data_page_offset
    header = content[start : start + 8]
    assert header[2:3] == b"\x15"
    forged = header[:3] + b"\xfe\x7f" + header[5:]
    assert forged != header
    path.write_bytes(content[:start] + forged + content[start + 8 :])
    with pytest.raises(CandidateError, match="damaged"):
        list(open_texts([path]))
