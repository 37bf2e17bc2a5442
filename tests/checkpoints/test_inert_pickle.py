"""A pickle is data: nothing in it is imported or called, and it is read in bounded time and memory."""

import ast
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.checkpoints import inert_pickle
from audit_cli.checkpoints.inert_pickle import Limits, read_pickle
from audit_cli.checkpoints.inert_values import DamagedPickle, Inert, OpaqueKey, TensorRef, plain
from tests.checkpoints.payloads import data, inert, live, text

COMMAND = "touch canary"
LONGEST = 4 << 20
UNPICKLE = "import copyreg, pickle, sys; copyreg.add_extension('os', 'system', 240); pickle.load(sys.stdin.buffer)"

plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(0, 9), inner),
    max_leaves=20,
)


@given(plain_values, st.integers(0, 5))
def test_plain_values_are_what_they_were(value, protocol):
    assert read_pickle(pickle.dumps(value, protocol)).value == value


@pytest.mark.parametrize("protocol", range(6))
def test_sets_survive(protocol):
    value = [{1, "a"}, frozenset({2.5, None}), bytearray(b"\xff\x00")]
    assert read_pickle(pickle.dumps(value, protocol)).value == value


def test_what_a_file_wanted_is_recorded():
    built = read_pickle(
        b"cevil\nThing\n" + text("a") + b"\x85R}" + text("k") + b"K\x01sbN\x61" + text("x") + b"K\x02s."
    )
    thing = built.value
    assert isinstance(thing, Inert)
    assert (thing.name, thing.args, thing.state) == ("evil.Thing", ("a",), {"k": 1})
    assert (thing.items, thing.pairs) == ([None], [("x", 2)])
    assert built.globals == {"evil.Thing"}


@pytest.mark.parametrize("name", live(""))
def test_the_payloads_are_live(tmp_path, name):
    payload = live(COMMAND)[name] + b"."
    subprocess.run([sys.executable, "-c", UNPICKLE], input=payload, cwd=tmp_path, capture_output=True, timeout=60)
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", [*live(""), *inert("")])
def test_nothing_runs(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    payload = {**live(COMMAND), **inert(COMMAND)}[name]
    before = set(sys.modules)
    try:
        found = read_pickle(payload + b".")
    except DamagedPickle as error:
        assert "\n" not in str(error)
    else:
        assert plain(found.value) is None or isinstance(plain(found.value), list | dict | str)
    assert not (tmp_path / "canary").exists()
    assert "UDDM_CANARY" not in os.environ
    assert set(sys.modules) == before


def test_what_is_not_of_the_file_is_not_changed():
    program = b"cos\nenviron\n" + text("a") + text("b") + b"s(" + text("c") + b"e" + text("d") + b"b."
    assert read_pickle(program).value.name == "os.environ"
    assert not {"a", "c", "d"} & os.environ.keys()


def test_the_interpreter_has_no_way_to_import_or_to_call_by_name():
    tree = ast.parse(Path(inert_pickle.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    outside = {name for name in imported if not name.startswith("audit_cli.")}
    assert outside == {"pickletools", "collections.abc", "dataclasses", "typing"}
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"getattr", "setattr", "eval", "exec", "compile", "__import__", "vars", "globals"}


def laughs(depth, kind=b"]", add=b"a"):
    """A list that holds the one before twice, `depth` times over: 2 ** depth leaves in a few bytes each."""
    out = kind + b"\x94"
    for i in range(depth):
        out += b"](" + b"j" + struct.pack("<I", i) + b"j" + struct.pack("<I", i) + b"e\x94"
    return out + b"."


def tuple_laughs(depth):
    """Nested pairs as the key of a dictionary: its hash alone would take 2 ** depth steps."""
    return b"}N" + b"2\x86" * depth + b"Ns."


BOMBS = {
    "lists that hold each other": laughs(20_000),
    "a key that takes forever to hash": tuple_laughs(300_000),
    "a deep list": b"]" * 500_000 + b"a" * 499_999 + b".",
    "a deep tuple": b"N" + b"\x85" * 500_000 + b".",
    "a deep chain of calls": b"cos\nsystem\n" + b")R" * 400_000 + b".",
    "a million marks": b"(" * 1_000_000,
    "no end of memory": b"N" + b"\x94" * 1_200_000 + b".",
    "no end of instructions": b"N0" * 1_100_000 + b"N.",
    "a memo index beyond 32 bits": b"Np" + b"9" * 30 + b"\n.",
    "a negative memo index": b"Np-1\n.",
    "colliding memo indices": b"N" + b"".join(b"p%d\n" % (i * (2**61 - 1)) for i in range(5000)) + b".",
    "colliding keys": b"}(" + b"".join(pickle.dumps(i * (2**61 - 1), 2)[2:-1] + b"N" for i in range(20_000)) + b"u.",
    "a number of a million digits": b"I" + b"9" * 1_000_000 + b"\n.",
    "a number of a million bytes": b"\x8b" + struct.pack("<I", 1_000_000) + b"\x7f" * 1_000_000 + b".",
    "a negative length of a number": b"\x8b\xff\xff\xff\xff.",
    "a text longer than the file": b"X\xff\xff\xff\xff" + b"a" * 100,
    "a text longer than memory": b"\x8d" + struct.pack("<Q", 1 << 62) + b"a" * 100,
    "bytes longer than memory": b"\x8e" + struct.pack("<Q", (1 << 63) - 1) + b"a" * 100,
    "an array longer than memory": b"\x96" + struct.pack("<Q", 1 << 45) + b"a" * 100,
    "a frame longer than memory": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"N.",
    "copies of copies": b"](" + b"N" * 10_000 + b"e\x940" + b"cbuiltins\nset\nh\x00\x85R0" * 20_000 + b"N.",
    "copies of a text": text("a" * 1_000_000) + b"\x940"
    + b"c_codecs\nencode\nh\x00\x8c\x06latin1\x86R0" * 20_000 + b"N.",
    "copies of a dictionary": b"}\x94(" + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(10_000)) + b"u0"
    + b"cbuiltins\ndict\nh\x00\x85R0" * 20_000 + b"N.",
    "a tensor of a million dimensions": b"(" + b"K\x02" * 100_000 + b"t\x940"
    + b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00h\x00h\x00\x89NtR0" * 10_000 + b"N.",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_stay_small(name):
    bomb = BOMBS[name]
    assert len(bomb) <= LONGEST
    try:
        plain(read_pickle(bomb).value)
    except DamagedPickle as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 300


@pytest.mark.parametrize("name", [name for name in BOMBS if len(BOMBS[name]) < 500_000])
def test_memory_is_bounded_by_the_size_of_the_data(name):
    bomb = BOMBS[name]
    tracemalloc.start()
    try:
        read_pickle(bomb)
    except DamagedPickle:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # An empty dictionary is one byte of a pickle and 64 of memory; what may be copied comes on top.
    assert peak < 300 * len(bomb) + (80 << 20)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"", "damaged"),
        (b"N", "damaged"),
        (b"\xff.", "damaged"),
        (b".", "takes more"),
        (b"R.", "takes more"),
        (b"t.", "takes more"),
        (b"2.", "takes more"),
        (b"b.", "takes more"),
        (b"h\x05.", "recalls"),
        (b"(o.", "no class"),
        (b"K\x01K\x02a.", "no list"),
        (b"K\x01(K\x02\x90.", "no set"),
        (b"K\x01K\x02K\x03s.", "no dictionary"),
        (b"](K\x02u.", "key without a value"),
        (b"NN\x93.", "no text"),
        (b"P1\n.", "PERSID"),
        (b"NQ.", "no storage"),
        (b"\x97.", "NEXT_BUFFER"),
        (b"c" + b"a" * 2000 + b"\nb\n.", "too long"),
        (b"N.N.", "behind the end"),
        (b"S'\\x'\n.", "damaged"),
        (b"V\\ud8\n.", "damaged"),
        (b"F1x\n.", "damaged"),
        (b"X\x02\x00\x00\x00\xff\xfe.", "damaged"),
    ],
)
def test_a_broken_program_is_one_sentence(program, message):
    with pytest.raises(DamagedPickle, match=message) as caught:
        read_pickle(program)
    assert "\n" not in str(caught.value)


def test_limits_can_be_tightened():
    with pytest.raises(DamagedPickle, match="more than 10 instructions"):
        read_pickle(b"N0" * 10 + b"N.", Limits(opcodes=10))


def storage(key="0", numel=6, kind="FloatStorage"):
    return b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cpu") + b"K%ctQ" % numel


def rebuilt(shape=(2, 3), stride=(3, 1), offset=0):
    numbers = lambda values: b"(" + b"".join(b"J" + struct.pack("<i", n) for n in values) + b"t"  # noqa: E731
    head = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage() + b"J" + struct.pack("<i", offset)
    return head + numbers(shape) + numbers(stride) + b"\x89NtR."


def test_a_tensor_is_a_reference():
    found = read_pickle(rebuilt((3, 2), (1, 3), 0)).value
    assert isinstance(found, TensorRef)
    assert (found.storage.key, found.storage.dtype, found.storage.numel) == ("0", "float32", 6)
    assert (found.shape, found.stride, found.offset) == ((3, 2), (1, 3), 0)


@pytest.mark.parametrize("bad", [{"offset": -1}, {"shape": (-2, 3)}, {"stride": (3,)}, {"shape": (1,) * 20}])
def test_a_tensor_of_impossible_sizes_is_none(bad):
    assert isinstance(read_pickle(rebuilt(**bad)).value, Inert)


def test_a_storage_that_is_described_twice_must_be_the_same():
    read_pickle(storage() + storage() + b"\x86.")
    with pytest.raises(DamagedPickle, match="in two ways"):
        read_pickle(storage() + storage(numel=7) + b"\x86.")
    with pytest.raises(DamagedPickle, match="in two ways"):
        read_pickle(storage() + storage(kind="HalfStorage") + b"\x86.")


def test_keys_that_do_not_hash_become_opaque():
    found = read_pickle(b"}(]NK\x01\x85N}Nu.").value
    assert len(found) == 3
    assert all(isinstance(key, OpaqueKey) for key in found)
    assert plain(found) == {}
    assert plain(read_pickle(b"\x8f(]K\x01\x90.").value) in ([None, 1], [1, None])


def test_bytes_of_protocol_2_are_bytes_and_other_encodings_are_not():
    assert read_pickle(pickle.dumps(b"\xff\x00a", 2)).value == b"\xff\x00a"
    assert isinstance(read_pickle(b"c_codecs\nencode\n" + text("a") + text("rot13") + b"\x86R.").value, Inert)
    assert isinstance(read_pickle(b"c_codecs\nencode\n" + text("日") + text("latin1") + b"\x86R.").value, Inert)


def test_a_configuration_that_contains_itself_is_refused():
    with pytest.raises(DamagedPickle, match="nested too deep"):
        plain(read_pickle(b"]\x94h\x00a.").value)
    with pytest.raises(DamagedPickle, match="nested too deep, or too large"):
        plain(read_pickle(laughs(40)).value)


def test_omegaconf_nodes_become_what_they_hold():
    node = lambda kind, field, value: (  # noqa: E731
        b"comegaconf\n" + kind + b"\n)\x81}" + text(field) + value + b"sb"
    )
    config = node(
        b"DictConfig",
        "_content",
        b"}" + text("a") + node(b"AnyNode", "_val", b"K\x07") + b"s" + text("b")
        + node(b"ListConfig", "_content", b"](" + node(b"AnyNode", "_val", text("${a}")) + b"e") + b"s",
    )  # fmt: skip
    assert plain(read_pickle(config + b".").value) == {"a": 7, "b": ["${a}"]}


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(junk):
    attempt(junk)


ONE_BYTE = [op.code.encode("latin-1") for op in pickletools.opcodes if op.arg is None]
PIECES = [*ONE_BYTE, *ONE_BYTE, b"h\x00", b"q\x00", b"K\x05", text("a"), data(b"b"), b"cos\nsystem\n", b"\x82\x01",
          b"ccollections\nOrderedDict\n", b"cbuiltins\nset\n", b"iposix\nsystem\n", storage(),
          rebuilt()[:-1]]  # fmt: skip


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_any_program_is_read_or_refused(pieces):
    attempt(b"".join(pieces) + b".")


def attempt(program):
    try:
        found = read_pickle(program, Limits(opcodes=10_000))
        plain(found.value)
    except DamagedPickle as error:
        assert "\n" not in str(error)
