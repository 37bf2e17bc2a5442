"""Files of lines that are compressed with gzip, and what is no text at all."""

import gzip
import tracemalloc
import zlib

import pytest

from audit_cli.candidates import CandidateError, open_texts

CONTENTS = {"txt": b"a\nb\n", "jsonl": b'{"text": "a"}\n{"text": "b"}\n', "csv": b"text\na\nb", "tsv": b"text\na\nb\n"}


@pytest.fixture
def read(tmp_path):
    def of(content, name="f.txt.gz", **options):
        path = tmp_path / name
        path.write_bytes(content)
        return list(open_texts([path], **options))

    return of


@pytest.mark.parametrize("suffix", CONTENTS)
def test_files_of_lines_are_read_while_they_are_decompressed(read, suffix):
    assert [c.text for c in read(gzip.compress(CONTENTS[suffix]), f"f.{suffix}.GZ")] == ["a", "b"]


def test_the_kind_may_be_said_instead_of_the_suffix(read):
    assert [c.text for c in read(gzip.compress(CONTENTS["csv"]), "f.gz", kind="csv")] == ["a", "b"]


def test_several_members_and_a_padding_of_zeros_are_one_file(read):
    parts = [gzip.compress(part) for part in (b"a\n", b"", b"b", b"c\n")]
    assert [c.text for c in read(b"".join(parts) + bytes(512))] == ["a", "bc"]


def test_content_of_many_blocks_comes_out_whole(read):
    texts = [f"text {i} " + "x" * (i % 97) for i in range(60_000)]
    content = "\n".join(texts).encode()
    half = len(content) // 2
    assert [c.text for c in read(gzip.compress(content[:half], 1) + gzip.compress(content[half:], 1))] == texts


GOOD = gzip.compress(b"".join(b"%d some text\n" % i for i in range(1000)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut short"),
        (GOOD[:5], "cut short"),
        (GOOD[:-1], "cut short"),
        (GOOD[:-9], "cut short"),
        (b"plain text\n", "damaged, or not a gzip file"),
        (GOOD[:50] + b"\xff\xff\xff\xff" + GOOD[54:], "damaged"),
        (GOOD[:-8] + b"\0\0\0\0" + GOOD[-4:], "damaged"),
        (GOOD + b"rubbish", "damaged"),
    ],
    ids=["empty", "a part of the head", "a byte short", "a trailer short", "text", "garbled", "checksum", "rubbish"],
)
def test_a_damaged_file_is_refused_by_name(read, tmp_path, content, message):
    with pytest.raises(CandidateError, match=message) as error:
        read(content)
    assert str(tmp_path / "f.txt.gz") in str(error.value)


@pytest.mark.parametrize("line", [b"\n", b"x", b"x" * 4095 + b"\n"], ids=["blank lines", "one line", "many lines"])
def test_a_bomb_is_given_up_after_little_memory(tmp_path, line):
    squeeze = zlib.compressobj(9, wbits=31)
    block = line * ((1 << 20) // len(line))
    bomb = b"".join(squeeze.compress(block) for _ in range(80)) + squeeze.flush()
    assert len(bomb) < 1 << 20
    (tmp_path / "bomb.txt.gz").write_bytes(bomb)
    tracemalloc.start()
    try:
        with pytest.raises(CandidateError, match="more than 200 times as large as its compressed form"):
            # The first texts of a bomb are as good as any: it is given up on the way.
            for _ in open_texts([tmp_path / "bomb.txt.gz"]):
                pass
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_bomb_of_many_short_lines_is_refused_before_they_are_read(tmp_path):
    # Thirty million candidates took most of a minute before the bomb was noticed.
    bomb = tmp_path / "bomb.txt.gz"
    squeeze = zlib.compressobj(9, wbits=31)
    bomb.write_bytes(b"".join(squeeze.compress(b"a\n" * (1 << 19)) for _ in range(70)) + squeeze.flush())
    with pytest.raises(CandidateError, match="more than 200 times"):
        open_texts([bomb])


def test_a_bomb_of_many_members_is_refused_as_well(tmp_path):
    bomb = tmp_path / "bomb.txt.gz"
    bomb.write_bytes(gzip.compress(b"a\n" * (1 << 19)) * 70)
    with pytest.raises(CandidateError, match="more than 200 times"):
        open_texts([bomb])


def test_parquet_is_not_decompressed(read):
    with pytest.raises(CandidateError, match="decompress it first"):
        read(b"", "f.parquet.gz")
