"""Parquet files as they should be, and each way in which one is not what it claims to be."""

import base64
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as encryption
import pytest

from audit_cli.candidates import CandidateError, lines, open_texts, parquet
from audit_cli.candidates.parquet_footer import row_groups
from audit_cli.records import Candidate, Skipped


@pytest.fixture
def read(tmp_path):
    """Reads columns as a Parquet file."""

    def of(columns, options=None, **writing):
        path = tmp_path / "f.parquet"
        pq.write_table(pa.table(columns), path, **writing)
        return list(open_texts([path], **(options or {})))

    return of


def reasons(results):
    return [r.reason if isinstance(r, Skipped) else None for r in results]


STRINGS = {
    "string": pa.string(),
    "large string": pa.large_string(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
    "dictionary of large strings": pa.dictionary(pa.int32(), pa.large_string()),
    "string view": pa.string_view(),
}


@pytest.mark.parametrize("kind", STRINGS.values(), ids=STRINGS)
def test_every_row_of_strings_is_a_candidate(read, kind):
    texts = pa.array(["one", "zwei ü", "one", "\u3000"]).cast(kind)
    assert read({"text": texts}) == [
        Candidate("f.parquet", i, f"f.parquet:{i}", text)
        for i, text in enumerate(["one", "zwei ü", "one", "\u3000"], 1)
    ]


@pytest.mark.parametrize("kind", STRINGS.values(), ids=STRINGS)
def test_a_blank_text_is_none(read, kind):
    found = read({"text": pa.array(["", " \t\r\n", "one"]).cast(kind)})
    assert [getattr(c, "reason", None) for c in found] == ["no text", "no text", None]


def test_rows_are_numbered_through_all_row_groups_and_batches(read):
    found = read({"text": [str(i) for i in range(1000)]}, row_group_size=300)
    assert [(c.line, c.text) for c in found] == [(i + 1, str(i)) for i in range(1000)]


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.large_list(pa.uint16()), pa.list_(pa.int32(), 2)], ids=str)
def test_every_row_of_lists_of_integers_is_a_candidate(read, kind):
    found = read({"input_ids": pa.array([[1, 2], [3, 4]], kind)})
    assert [c.token_ids for c in found] == [(1, 2), (3, 4)]


@pytest.mark.parametrize("ids", [["a", None], [7, None]], ids=["strings", "numbers"])
def test_ids_are_strings_or_numbers_and_may_lack(read, ids):
    assert [c.id for c in read({"text": ["x", "y"], "id": ids})] == [str(ids[0]), "f.parquet:2"]


def test_token_ids_come_before_texts_unless_a_column_is_asked_for(read):
    columns = {"text": ["a", "b"], "input_ids": [[1], None]}
    assert [(c.text, c.token_ids) for c in read(columns)] == [(None, (1,)), ("b", None)]
    assert [c.text for c in read(columns, {"text_column": "text"})] == ["a", "b"]


def test_only_the_columns_that_are_needed_must_be_of_a_kind_that_is_known(read):
    columns = {"body": ["a"], "other": [{"x": [1.5]}], "when": pa.array([5], pa.timestamp("us"))}
    assert [c.text for c in read(columns, {"text_column": "body"})] == ["a"]


def test_a_column_may_have_a_dot_in_its_name(read):
    assert [c.text for c in read({"a.b": ["x"], "a": [{"b": 1}]}, {"text_column": "a.b"})] == ["x"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"body": ["a"]}, 'no column "text"; there are: body; choose one with --text-column'),
        ({"text": [1]}, 'the column "text" is of type int64; strings are expected'),
        ({"text": [b"a"]}, 'the column "text" is of type binary; strings are expected'),
        ({"text": [["a"]]}, 'the column "text" is of type list<.*; strings are expected'),
        ({"text": pa.nulls(2)}, 'the column "text" is of type null'),
        ({"input_ids": ["1 2"]}, '"input_ids" is of type string; lists of whole numbers are expected'),
        ({"input_ids": [[1.0]]}, '"input_ids" is of type list<.*double>; lists of whole numbers are expected'),
        ({"input_ids": [[True]]}, '"input_ids" is of type list<.*bool>'),
        ({"text": ["a"], "id": [1.5]}, 'the column "id" is of type double'),
    ],
)
def test_a_column_of_a_wrong_type_is_refused_with_its_type(read, columns, message):
    with pytest.raises(CandidateError, match=message):
        read(columns)


def test_two_columns_of_one_name_are_refused(tmp_path):
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), tmp_path / "f.parquet")
    with pytest.raises(CandidateError, match='2 columns are called "text"'):
        open_texts([tmp_path / "f.parquet"])


def test_a_row_without_a_text_is_skipped(read):
    assert reasons(read({"text": ["a", None, "b"]})) == [None, "no text", None]
    assert reasons(read({"input_ids": [[1], None]})) == [None, "no text"]


def test_rows_of_bad_values_are_skipped(read, monkeypatch):
    monkeypatch.setattr(parquet, "MAX_TOKEN_IDS", 3)
    found = read({"input_ids": [[1], [1, None], [2**31], [1, 2, 3, 4]]})
    fault = '"input_ids" is not a list of whole numbers'
    assert reasons(found) == [None, fault, fault, '"input_ids" holds more than 3 token ids']


@pytest.mark.parametrize("dictionary", [True, False])
def test_strings_that_are_not_utf8_are_skipped(read, dictionary):
    texts = pa.array([b"good", b"bad \xff", b"good"]).cast(pa.string(), safe=False)
    found = read({"text": texts}, use_dictionary=dictionary)
    assert reasons(found) == [None, "not valid UTF-8 (byte 5 of the text)", None]


def test_a_text_or_an_id_that_is_too_long_is_skipped(read, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 16)
    assert reasons(read({"text": ["x" * 16, "x" * 17]})) == [None, "the text is longer than 16 bytes"]
    assert reasons(read({"text": ["x"], "id": ["x" * 17]})) == ["the id is longer than 16 bytes"]


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
@pytest.mark.parametrize("limit", [1 << 30, 5000])
def test_every_encoding_of_strings_is_read(read, monkeypatch, encoding, limit):
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", limit)
    texts = [f"text {i}" for i in range(1000)]
    found = read({"text": texts}, use_dictionary=False, column_encoding={"text": encoding}, row_group_size=100)
    assert [c.text for c in found] == texts


def test_a_long_text_that_many_rows_share_takes_its_memory_once(tmp_path):
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), ["x" * (2 << 20)])
    pq.write_table(pa.table({"text": long}), tmp_path / "f.parquet", dictionary_pagesize_limit=8 << 20)
    assert (tmp_path / "f.parquet").stat().st_size < 1 << 20
    pool = pa.default_memory_pool()
    before = pool.max_memory()
    found = list(open_texts([tmp_path / "f.parquet"]))
    assert set(reasons(found)) == {"the text is longer than 1048576 bytes"}
    assert len(found) == 20_000
    assert pool.max_memory() - before < 100 << 20


@pytest.mark.parametrize("limit", ["MAX_GROUP_BYTES", "MAX_GROUP_VALUES"])
def test_a_row_group_of_an_absurd_size_is_refused_before_it_is_read(read, monkeypatch, limit):
    monkeypatch.setattr(parquet, limit, 10)
    with pytest.raises(CandidateError, match=r"row group 0 claims .* write the file with smaller row groups"):
        read({"text": [str(i) for i in range(100)]})


def test_a_column_that_is_not_read_may_be_of_any_size(read, monkeypatch):
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", 1000)
    assert len(read({"text": ["a"], "pixels": [b"x" * 5000]}, use_dictionary=False)) == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda good: b"", "not a Parquet file"),
        (lambda good: b"PAR", "not a Parquet file"),
        (lambda good: b"text\na\n", "not a Parquet file"),
        (lambda good: good[:-1], "not a Parquet file, or cut short"),
        (lambda good: b"PAR1PAR1", "the Parquet file is damaged"),
        (lambda good: good[:4] + b"\xff" * 30 + good[34:], "the Parquet file is damaged"),
        (lambda good: good[:-8] + b"\xff\xff\xff\x7fPAR1", "the Parquet file is damaged"),
        (lambda good: good[:-4] + b"PARE", "an encrypted Parquet file"),
    ],
    ids=["empty", "three bytes", "text", "cut", "no footer", "a bad page", "a footer of 2 GiB", "encrypted"],
)
def test_a_file_that_is_not_parquet_is_refused(tmp_path, damage, message):
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"text": ["secret"] * 10}), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CandidateError, match=message) as error:
        list(open_texts([path]))
    assert "secret" not in str(error.value)
    assert str(path) in str(error.value)


DAMAGED = Path(__file__).parent / "damaged"


class Keys(encryption.KmsClient):
    """Keeps no secret."""

    def wrap_key(self, key_bytes, master_key_identifier):
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key, master_key_identifier):
        return base64.b64decode(wrapped_key)


@pytest.mark.parametrize("plaintext_footer", [True, False])
def test_an_encrypted_file_is_refused_as_such(tmp_path, plaintext_footer):
    table = pa.table({"text": ["secret"] * 10, "other": [1] * 10})
    how = encryption.EncryptionConfiguration(
        footer_key="key", column_keys={"key": ["text"]}, plaintext_footer=plaintext_footer
    )
    factory = encryption.CryptoFactory(lambda _: Keys())
    properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), how)
    with pq.ParquetWriter(tmp_path / "f.parquet", table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    with pytest.raises(CandidateError, match="an encrypted Parquet file"):
        list(open_texts([tmp_path / "f.parquet"]))


@pytest.mark.parametrize("writing", [{}, {"row_group_size": 7}, {"compression": "zstd"}], ids=str)
def test_the_footer_says_to_us_what_it_says_to_arrow(tmp_path, writing):
    path = tmp_path / "f.parquet"
    table = pa.table({"text": [f"text {i}" for i in range(50)], "n": [{"a.b": "1", "c": [True]}] * 50})
    pq.write_table(
        table, path, use_dictionary=["n.a.b"], column_encoding={"text": "DELTA_LENGTH_BYTE_ARRAY"}, **writing
    )
    content = path.read_bytes()
    length = int.from_bytes(content[-8:-4], "little")
    groups = row_groups(content[-8 - length : -8], ["text", "n"])
    metadata = pq.read_metadata(path)
    assert len(groups) == metadata.num_row_groups
    for g, group in enumerate(groups):
        chunks = [metadata.row_group(g).column(j) for j in range(metadata.num_columns)]
        assert [".".join(c.path) for c in group] == [c.path_in_schema for c in chunks]
        assert [c.values for c in group] == [c.num_values for c in chunks]
        assert [c.uncompressed_bytes for c in group] == [c.total_uncompressed_size for c in chunks]
        assert [c.has_delta_encoding for c in group] == ["DELTA_LENGTH_BYTE_ARRAY" in c.encodings for c in chunks]


@pytest.mark.parametrize("path", sorted(DAMAGED.glob("*.parquet")), ids=lambda path: path.stem)
def test_a_file_that_ends_a_process_in_arrow_is_refused(path):
    with pytest.raises(CandidateError, match="the Parquet file is damaged"):
        list(open_texts([path]))
