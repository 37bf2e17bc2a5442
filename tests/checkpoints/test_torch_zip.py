"""The container: directory, headers and pickle must tell one story before anything is read."""

import os
import struct
import warnings
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_cli.checkpoints import CheckpointError, UnauditableModel
from audit_cli.checkpoints.torch_zip import open_torch_zip
from tests.checkpoints.lightning_files import ORACLE, directory_entries, members, patched, rewritten, small, with_pickle


def refused(path, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        open_torch_zip(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_plain_archive_is_read(tmp_path):
    archive = open_torch_zip(small(tmp_path / "a.ckpt"))
    assert archive.pickled.value is None
    assert {name: member.size for name, member in archive.members.items()} == {
        "data.pkl": 2, "byteorder": 6, "data/0": 64,
    }  # fmt: skip


MEMBERS = [("a/data.pkl", b"N."), ("a/byteorder", b"little")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([*MEMBERS, ("a/data.pkl", b"N.")], "two members .* 'a/data.pkl'"),
        ([*MEMBERS, ("b/data/0", b"")], "one top folder, and this one has 2"),
        ([*MEMBERS, ("a/../../x", b"")], "no plain path"),
        ([*MEMBERS, ("/a/x", b"")], "no plain path"),
        ([*MEMBERS, ("a//x", b"")], "no plain path"),
        ([*MEMBERS, ("a/./x", b"")], "no plain path"),
        ([*MEMBERS, ("a/x\\y", b"")], "no plain path"),
        ([*MEMBERS, ("c:/x", b"")], "no plain path"),
        ([*MEMBERS, ("x", b"")], "no plain path"),
        ([*MEMBERS, ("a/\x1b[31m\n", b"")], None),
        ([("a/byteorder", b"little")], "without data.pkl"),
        ([("a/data.pkl", b"N."), ("a/byteorder", b"big")], "little-endian"),
        ([*MEMBERS, ("a/code/__torch__.py", b"")], "TorchScript"),
        ([*MEMBERS, ("a/constants.pkl", b"N.")], "TorchScript"),
        ([("a/data.pkl", b"cos\nsystem\n")], "damaged"),
        ([("a/data.pkl", b"")], "damaged"),
    ],
)
def test_members_that_torch_does_not_write(tmp_path, content, message):
    with warnings.catch_warnings():
        # zipfile warns of the names that are there twice.
        warnings.simplefilter("ignore")
        path = rewritten(tmp_path / "a.ckpt", content)
    if message is None:
        open_torch_zip(path)
    else:
        refused(path, message)


def test_compressed_members_are_refused(tmp_path):
    refused(rewritten(tmp_path / "a.ckpt", MEMBERS, zipfile.ZIP_DEFLATED), "compressed")


def field(content, member, offset):
    """Where a field of a member's directory entry stands."""
    return directory_entries(content)[0][member] + offset


CONTRADICTIONS = {
    "encrypted": (8, struct.pack("<H", 1), "encrypted"),
    "strongly encrypted": (8, struct.pack("<H", 0x40), "encrypted"),
    "strange flags": (8, struct.pack("<H", 0x4), "flags"),
    "another size": (24, struct.pack("<I", 3), "sizes .* contradict"),
    "other sizes": (20, struct.pack("<2I", 3, 3), "sizes .* contradict"),
    "sizes beyond the file": (20, struct.pack("<2I", 10**9, 10**9), "sizes|beyond"),
    "sizes that are missing": (20, struct.pack("<2I", 2**32 - 1, 2**32 - 1), "missing"),
    "another disk": (34, struct.pack("<H", 1), "sizes"),
    "a header beyond the file": (42, struct.pack("<I", 10**9), "beyond"),
    "a header elsewhere": (42, struct.pack("<I", 5), "header .* contradicts"),
    "a name beyond the directory": (28, struct.pack("<H", 60_000), "damaged"),
    "another name": (46, b"b/data.pkl", "contradicts"),
    "a name that is no text": (46, b"\xff", "no UTF-8"),
    "no entry": (0, b"PK\x01\x09", "damaged"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_directory_that_contradicts_itself_or_the_headers(tmp_path, name):
    offset, new, message = CONTRADICTIONS[name]
    content = small(tmp_path / "a.ckpt").read_bytes()
    refused(patched(tmp_path / "b.ckpt", content, field(content, 0, offset), new), message)


def test_local_headers_that_contradict_the_directory(tmp_path):
    content = small(tmp_path / "a.ckpt").read_bytes()
    for at, new, message in (
        (6, struct.pack("<H", 1), "contradicts"),
        (8, struct.pack("<H", 8), "contradicts"),
        (22, struct.pack("<I", 9), "sizes"),
        (30, b"z", "contradicts"),
    ):
        refused(patched(tmp_path / "b.ckpt", content, at, new), message)


def test_overlapping_members_are_refused(tmp_path):
    content = small(tmp_path / "a.ckpt").read_bytes()
    first = content[field(content, 0, 42) : field(content, 0, 46)]
    path = patched(tmp_path / "b.ckpt", content, field(content, 2, 42), first)
    refused(path, "contradicts|overlaps")
    # A member inside another one, with a header that agrees with the directory.
    inner = b"PK\x03\x04" + struct.pack("<5H3I2H", 20, 0, 0, 0, 33, 0, 1, 1, 8, 0) + b"a/data/1" + b"x"
    content = rewritten(tmp_path / "c.ckpt", [*MEMBERS, ("a/data/0", inner), ("a/data/1", b"x")]).read_bytes()
    where = struct.pack("<I", content.index(inner))
    refused(patched(tmp_path / "d.ckpt", content, field(content, 3, 42), where), "overlaps|contradicts")


def test_nothing_hides_between_or_around_members(tmp_path):
    content = small(tmp_path / "a.ckpt").read_bytes()
    (tmp_path / "b.ckpt").write_bytes(content + b"x")
    refused(tmp_path / "b.ckpt", "cut off, or has something behind")
    (tmp_path / "c.ckpt").write_bytes(content[:-1])
    refused(tmp_path / "c.ckpt", "cut off")
    (tmp_path / "d.ckpt").write_bytes(b"\x80\x02N." + content)
    refused(tmp_path / "d.ckpt", "bare pickle")
    entries, end = directory_entries(content)
    start = entries[0]
    moved = content[:start] + b"x" * 100 + content[start:end]
    (tmp_path / "e.ckpt").write_bytes(moved + content[end : end + 16] + struct.pack("<IH", start + 100, 0))
    refused(tmp_path / "e.ckpt", "hidden")
    (tmp_path / "f.ckpt").write_bytes(content[:end] + content[end : end + 16] + struct.pack("<IH", start + 1, 0))
    refused(tmp_path / "f.ckpt", "not where it should be")
    (tmp_path / "g.ckpt").write_bytes(content[:end] + content[end : end + 8] + struct.pack("<2H", 9, 9) + content[-10:])
    refused(tmp_path / "g.ckpt", "several parts|not where")


def test_a_zip64_record_may_not_tell_another_story(tmp_path):
    content = ORACLE.read_bytes()
    end64 = content.rindex(b"PK\x06\x06")
    refused(patched(tmp_path / "a.ckpt", content, end64 + 48, struct.pack("<Q", 5)), "contradict")
    refused(patched(tmp_path / "b.ckpt", content, end64 + 56 + 8, struct.pack("<Q", 5)), "not where it should be")
    refused(patched(tmp_path / "c.ckpt", content, end64 + 4, struct.pack("<Q", 1 << 60)), "damaged")
    refused(patched(tmp_path / "d.ckpt", content, end64 + 32, struct.pack("<Q", 1 << 60)), "damaged")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a checkpoint"),
        (b"PK\x03\x04", "cut off"),
        (b"\x80\x02}q\x00.", "bare pickle"),
        (b"storages\0" + b"\0" * 600, "tar archive"),
        (b"x" * 257 + b"ustar\x0000" + b"\0" * 600, "tar archive"),
        (struct.pack("<Q", 2) + b"{}", "safetensors"),
        (b"\x1f\x8b\x08", "not a checkpoint"),
    ],
)
def test_other_formats_are_named_with_the_way_out(tmp_path, content, message):
    (tmp_path / "a.ckpt").write_bytes(content)
    refused(tmp_path / "a.ckpt", message)


def test_torchs_legacy_format_is_refused_with_the_way_out(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "a.ckpt", _use_new_zipfile_serialization=False)
    refused(tmp_path / "a.ckpt", "legacy format.*_use_new_zipfile_serialization=True")


def test_what_is_no_file_is_refused(tmp_path):
    refused(tmp_path, "not a regular file")
    refused(tmp_path / "nothing", "No such file")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "not a regular file")


def test_a_storage_has_the_size_that_its_tensors_say(tmp_path):
    parts = members()
    names = list(parts)
    storage = next(name for name in names if name.endswith("data/5"))
    refused(rewritten(tmp_path / "a.ckpt", [*{**parts, storage: parts[storage] + b"0000"}.items()]), "storage '5' has")
    refused(rewritten(tmp_path / "b.ckpt", [(n, parts[n]) for n in names if n != storage]), "storage '5' is missing")


def test_too_large_a_pickle_is_not_read(monkeypatch):
    monkeypatch.setattr("audit_cli.checkpoints.torch_zip.PICKLE_BYTES", 1 << 10)
    refused(ORACLE, "data.pkl is larger")


def tensors(path, values):
    torch.save(values, path)
    archive = open_torch_zip(path)
    return archive.tensors(archive.pickled.value)


def test_tensors_are_read_whatever_their_strides_and_types(tmp_path):
    torch.manual_seed(0)
    base = torch.randn(6, 8)
    values = {
        "plain": base.clone(),
        "transposed": base.clone().T,
        "slice": base[1:3, 2:5],
        "half": base.half(),
        "bfloat": base.bfloat16(),
        "double": base.double(),
        "scalar": torch.tensor(2.5),
    }
    found = tensors(tmp_path / "a.pt", values)
    for name, value in values.items():
        assert torch.equal(found[name], value.float())
        assert found[name].dtype == torch.float32


def test_storages_without_alignment_are_read(tmp_path):
    value = {"w": torch.randn(5)}
    torch.save(value, tmp_path / "a.pt")
    for n in range(4):
        parts = {
            name.replace("a/", "a" * (n + 1) + "/", 1): content for name, content in members(tmp_path / "a.pt").items()
        }
        archive = open_torch_zip(rewritten(tmp_path / "b.pt", [*parts.items()]))
        assert torch.equal(archive.tensors(archive.pickled.value)["w"], value["w"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"w": torch.arange(3)}, "'w' is int64, not floating point"),
        ({"w": torch.zeros(2, dtype=torch.complex64)}, "unknown type"),
        ({"w": torch.zeros(1).expand(1000)}, "shares its numbers"),
        ({"w": (base := torch.ones(4)), "v": base.view(2, 2)}, "shares its numbers"),
        ({"w": torch.zeros(0)}, "is empty"),
    ],
)
def test_tensors_that_are_no_weights(tmp_path, values, message):
    torch.save(values, tmp_path / "a.pt")
    archive = open_torch_zip(tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=message):
        archive.tensors(archive.pickled.value)


def test_a_tensor_stays_inside_its_storage(tmp_path):
    torch.save({"w": torch.zeros(3, 5)}, tmp_path / "a.pt")
    program = members(tmp_path / "a.pt")["a/data.pkl"]
    # Shape (3, 5) as two one-byte numbers in a tuple.
    for new in (b"K\x05K\x03\x86", b"K\x03K\x06\x86", b"K\x04K\x05\x86"):
        path = with_pickle(tmp_path / "b.pt", program.replace(b"K\x03K\x05\x86", new), tmp_path / "a.pt")
        archive = open_torch_zip(path)
        with pytest.raises(CheckpointError, match=r"reaches beyond its storage|shares its numbers"):
            archive.tensors(archive.pickled.value)


def test_not_a_number_is_found(tmp_path):
    with pytest.raises(UnauditableModel, match="'w' holds NaN"):
        tensors(tmp_path / "a.pt", {"w": torch.tensor([1.0, float("nan"), 2.0])})
    with pytest.raises(UnauditableModel, match="'w' holds NaN"):
        tensors(tmp_path / "b.pt", {"w": torch.tensor([1.0, float("-inf")])})


def test_a_file_that_is_replaced_meanwhile_is_noticed(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"w": torch.ones(3)}, path)
    archive = open_torch_zip(path)
    torch.save({"w": torch.zeros(3)}, path)
    os.utime(path, ns=(0, 0))
    with pytest.raises(CheckpointError, match="changes while it is read"):
        archive.tensors(archive.pickled.value)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_change_gives_an_archive_or_a_clear_error(tmp_path, data):
    content = bytearray(small(tmp_path / "a.ckpt").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 40)) if data.draw(st.booleans()) else 0
    (tmp_path / "b.ckpt").write_bytes(content[: len(content) - cut])
    try:
        open_torch_zip(tmp_path / "b.ckpt")
    except CheckpointError as error:
        assert "\n" not in str(error)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_give_a_clear_error(tmp_path, junk, zipped):
    (tmp_path / "a.ckpt").write_bytes(b"PK\x03\x04" * zipped + junk)
    with pytest.raises(CheckpointError):
        open_torch_zip(tmp_path / "a.ckpt")
