"""Reads a pickle as data: an interpreter of pickle opcodes that imports nothing and calls nothing.

A subclass of `pickle.Unpickler` with a guarded `find_class` still is a machine built to call: it runs `__setstate__`,
`append`, `extend`, `__setitem__` and the `__reduce__` targets of whatever it was given, looks extension codes up in a
registry of the process and sizes its memo by numbers in the file. Here no opcode has a path to an import or to a call:
the few constructors that carry tensors and plain containers are recognised by name and done by the functions below,
and every other global is an `Inert` record of what the file wanted. A pickle or archive inside a string stays a string.

Time and memory are bounded by the size of the data and by `Limits`; nothing here recurses, however deep the data.
"""

import pickletools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from audit_cli.checkpoints.config_file import brief
from audit_cli.checkpoints.inert_values import DamagedPickle, Global, Inert, OpaqueKey, Storage, TensorRef

STORAGES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
}
LARGEST_KEY = 1 << 60


@dataclass(frozen=True)
class Limits:
    """What a pickle may ask for. The defaults hold a GPT-2 tokenizer and a thousand blocks with optimizer state."""

    opcodes: int = 2_000_000
    memo: int = 1_000_000
    marks: int = 10_000
    copied: int = 2_000_000
    name_characters: int = 1024
    integer_bits: int = 4096
    dimensions: int = 16


@dataclass(frozen=True)
class Unpickled:
    """A pickle's contents. `globals` are the names of all that it refers to, what it would have run among them."""

    value: object
    storages: dict[str, Storage]
    globals: frozenset[str]


def read_pickle(data: bytes, limits: Limits | None = None) -> Unpickled:
    """The contents of one pickle, which must fill `data`. Raises DamagedPickle."""
    machine = _Machine(limits or Limits())
    try:
        value = machine.run(data)
    except (ValueError, TypeError, LookupError, OverflowError, AttributeError) as error:
        # Mostly pickletools on bytes that are no opcode; it says where.
        raise DamagedPickle(f"its pickle is damaged ({brief(str(error))})") from None
    return Unpickled(value, machine.storages, frozenset(machine.globals))


class _Machine:
    """The stack machine that a pickle is a program for. Marks keep their own stacks, as in `pickle.py`."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.globals: set[str] = set()
        self.copied = 0

    def run(self, data: bytes) -> object:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(data)):
            if count >= self.limits.opcodes:
                raise DamagedPickle(f"its pickle has more than {self.limits.opcodes:,} instructions")
            if opcode.name == "STOP":
                if position is None or position + 1 != len(data):
                    raise DamagedPickle("there is something behind the end of its pickle")
                return self.pop()
            handler = OPCODES.get(opcode.name)
            if handler is None:
                raise DamagedPickle(f"its pickle has the instruction {opcode.name}, which no torch.save writes")
            handler(self, argument)
        raise DamagedPickle("its pickle has no end")

    def pop(self) -> Any:
        if not self.stack:
            raise DamagedPickle("its pickle takes more than it has put down")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack:
            raise DamagedPickle("its pickle takes more than it has put down")
        return self.stack[-1]

    def push(self, value: object) -> None:
        self.stack.append(value)

    def spend(self, copied: int) -> None:
        """Account for work that one instruction does on things that many instructions can share."""
        self.copied += copied
        if self.copied > self.limits.copied:
            raise DamagedPickle("its pickle copies the same things over and over")

    def mark(self) -> None:
        if len(self.below) >= self.limits.marks:
            raise DamagedPickle(f"its pickle is nested deeper than {self.limits.marks:,}")
        self.below.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[Any]:
        if not self.below:
            raise DamagedPickle("its pickle takes more than it has put down")
        items, self.stack = self.stack, self.below.pop()
        return items

    def discard_to_mark(self) -> None:
        self.to_mark()

    def discard(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.to_mark()

    def integer(self, value: int) -> None:
        if value.bit_length() > self.limits.integer_bits:
            raise DamagedPickle(f"its pickle has a number of {value.bit_length():,} bits")
        self.push(value)

    def put(self, index: int) -> None:
        # Huge indices would collide as keys; no pickler numbers past 32 bits.
        if not 0 <= index < 1 << 32 or len(self.memo) >= self.limits.memo:
            raise DamagedPickle(f"its pickle remembers more than {self.limits.memo:,} things")
        self.memo[index] = self.top()

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise DamagedPickle("its pickle recalls what it has not remembered")
        self.push(self.memo[index])

    def named(self, module: str, name: str) -> Global:
        if len(module) + len(name) > self.limits.name_characters:
            raise DamagedPickle("its pickle refers to a name that is too long")
        # Protocol 2 spells the modules of Python 2.
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
        found = Global(f"{module}.{name}")
        self.globals.add(found.name)
        return found

    def global_of(self, argument: str) -> Global:
        module, _, name = argument.partition(" ")
        return self.named(module, name)

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise DamagedPickle("its pickle refers to something whose name is no text")
        self.push(self.named(module, name))

    def call(self, made_by: object, args: object, kwargs: object = None) -> object:
        """What the file wants of a call: a tensor or plain container where it is one, else a record of the call."""
        build = BUILDERS.get(made_by.name) if isinstance(made_by, Global) and not kwargs else None
        if build is not None and isinstance(args, tuple):
            built = build(self, args)
            if built is not None:
                return built
        return Inert(made_by, args, kwargs)

    def reduce(self) -> None:
        args, made_by = self.pop(), self.pop()
        self.push(self.call(made_by, args))

    def new(self, with_keywords: bool) -> None:
        kwargs = self.pop() if with_keywords else None
        args, made_by = self.pop(), self.pop()
        self.push(self.call(made_by, args, kwargs))

    def obj(self) -> None:
        items = self.to_mark()
        if not items:
            raise DamagedPickle("its pickle builds something of no class")
        self.push(self.call(items[0], tuple(items[1:])))

    def inst(self, argument: str) -> None:
        self.push(self.call(self.global_of(argument), tuple(self.to_mark())))

    def build(self) -> None:
        state = self.pop()
        target = self.top()
        # Attributes of plain values, such as a state_dict's version numbers, are left out.
        if isinstance(target, Inert):
            target.state = state

    def append(self, items: list[Any]) -> None:
        target = self.top()
        if isinstance(target, Inert):
            target.items.extend(items)
        elif isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Global):
            raise DamagedPickle("its pickle appends to something that is no list")

    def append_one(self) -> None:
        item = self.pop()
        self.append([item])

    def add(self, items: list[Any]) -> None:
        target = self.top()
        if isinstance(target, Inert):
            target.items.extend(items)
        elif isinstance(target, set):
            target.update(map(_key, items))
        elif not isinstance(target, Global):
            raise DamagedPickle("its pickle adds to something that is no set")

    def set_items(self, items: list[Any]) -> None:
        target = self.top()
        if len(items) % 2:
            raise DamagedPickle("its pickle has a key without a value")
        pairs = zip(items[::2], items[1::2], strict=True)
        if isinstance(target, Inert):
            target.pairs.extend(pairs)
        elif isinstance(target, dict):
            target.update((_key(k), v) for k, v in pairs)
        elif not isinstance(target, Global):
            raise DamagedPickle("its pickle sets keys of something that is no dictionary")

    def set_one(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def tuple_of(self, count: int) -> None:
        items = tuple(self.pop() for _ in range(count))
        self.push(items[::-1])

    def dictionary(self, items: list[Any]) -> None:
        self.push({})
        self.set_items(items)

    def members(self, items: list[Any]) -> None:
        self.push({_key(v) for v in items})

    def persistent(self) -> None:
        """`("storage", type, key, device, how many numbers)`: the only thing that torch.save keeps outside."""
        match self.pop():
            case ("storage", Global(name=kind), str(key), str(), int(numel)) if 0 <= numel < LARGEST_KEY:
                storage = Storage(key, STORAGES.get(kind, ""), numel)
            case _:
                raise DamagedPickle("its pickle refers to something outside that is no storage")
        known = self.storages.setdefault(key, storage)
        if (known.dtype, known.numel) != (storage.dtype, storage.numel):
            raise DamagedPickle(f"its pickle describes the storage {brief(key)} in two ways")
        self.push(known)


def _key(value: Any) -> Any:
    """A key that hashes in constant time and does not collide by design: a scalar, else an opaque one."""
    if value is None or isinstance(value, str | bytes | float | bool):
        return value
    if isinstance(value, int) and -LARGEST_KEY < value < LARGEST_KEY:
        return value
    return OpaqueKey(value)


def _tensor(machine: _Machine, args: tuple[Any, ...]) -> TensorRef | None:
    """`torch._utils._rebuild_tensor_v2(storage, offset, shape, stride, …)`."""
    match args:
        case (Storage() as storage, int(offset), tuple(shape), tuple(stride), *_):
            if len(shape) == len(stride) <= machine.limits.dimensions and all(
                type(n) is int and 0 <= n < LARGEST_KEY for n in (offset, *shape, *stride)
            ):
                return TensorRef(storage, offset, shape, stride)
    return None


def _parameter(machine: _Machine, args: tuple[Any, ...]) -> TensorRef | None:
    """`torch._utils._rebuild_parameter(tensor, requires_grad, hooks)`."""
    return args[0] if args and isinstance(args[0], TensorRef) else None


def _dict(machine: _Machine, args: tuple[Any, ...]) -> dict[Any, Any] | None:
    """An empty dictionary, or one of pairs, which is how Python 2 wrote an OrderedDict."""
    match args:
        case ():
            return {}
        case (dict(given),):
            machine.spend(len(given))
            return dict(given)
        case (list(pairs),):
            machine.spend(len(pairs))
            if all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
                return {_key(pair[0]): pair[1] for pair in pairs}
    return None


def _default_dict(machine: _Machine, args: tuple[Any, ...]) -> dict[Any, Any] | None:
    """`collections.defaultdict(factory, …)`, without its factory."""
    return _dict(machine, args[1:])


def _sequence(kind: Callable[[Iterable[Any]], Any]) -> Callable[[_Machine, tuple[Any, ...]], Any]:
    def build(machine: _Machine, args: tuple[Any, ...]) -> Any:
        match args:
            case ():
                return kind(())
            case (list() | tuple() | set() as items,):
                machine.spend(len(items))
                return kind(items)
        return None

    return build


def _set(items: Iterable[Any]) -> set[Any]:
    return {_key(v) for v in items}


def _encode(machine: _Machine, args: tuple[Any, ...]) -> bytes | None:
    """`_codecs.encode(text, "latin1")`: how protocol 2, torch's default, spells bytes."""
    match args:
        case (str(text), "latin1" | "latin-1"):
            machine.spend(len(text) // 32)
            try:
                return text.encode("latin-1")
            except UnicodeEncodeError:
                return None
    return None


def _bytes(machine: _Machine, args: tuple[Any, ...]) -> bytes | None:
    """`bytes()`, `bytearray(text, "latin1")` and `bytearray(bytes)`, as protocols up to 4 spell them."""
    if not args:
        return b""
    return args[0] if len(args) == 1 and isinstance(args[0], bytes) else _encode(machine, args)


BUILDERS: dict[str, Callable[[_Machine, tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": _sequence(tuple),
    "builtins.dict": _dict,
    "builtins.list": _sequence(list),
    "builtins.tuple": _sequence(tuple),
    "builtins.set": _sequence(_set),
    "builtins.frozenset": _sequence(_set),
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "collections.OrderedDict": _dict,
    "collections.defaultdict": _default_dict,
    "_codecs.encode": _encode,
}

# Left out, and so refused: persistent ids as text and out-of-band buffers, which torch.save does not write.
OPCODES: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda m, a: None,
    "FRAME": lambda m, a: None,
    "MARK": lambda m, a: m.mark(),
    "POP": lambda m, a: m.discard(),
    "POP_MARK": lambda m, a: m.discard_to_mark(),
    "DUP": lambda m, a: m.push(m.top()),
    "NONE": lambda m, a: m.push(None),
    "NEWTRUE": lambda m, a: m.push(True),
    "NEWFALSE": lambda m, a: m.push(False),
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"), lambda m, a: m.integer(a)),
    **dict.fromkeys(("FLOAT", "BINFLOAT"), lambda m, a: m.push(a)),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING"), lambda m, a: m.push(a)),
    **dict.fromkeys(("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), lambda m, a: m.push(a)),
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"), lambda m, a: m.push(a)),
    "BYTEARRAY8": lambda m, a: m.push(bytes(a)),
    "EMPTY_LIST": lambda m, a: m.push([]),
    "EMPTY_DICT": lambda m, a: m.push({}),
    "EMPTY_SET": lambda m, a: m.push(set()),
    "EMPTY_TUPLE": lambda m, a: m.push(()),
    "LIST": lambda m, a: m.push(m.to_mark()),
    "TUPLE": lambda m, a: m.push(tuple(m.to_mark())),
    "TUPLE1": lambda m, a: m.tuple_of(1),
    "TUPLE2": lambda m, a: m.tuple_of(2),
    "TUPLE3": lambda m, a: m.tuple_of(3),
    "DICT": lambda m, a: m.dictionary(m.to_mark()),
    "FROZENSET": lambda m, a: m.members(m.to_mark()),
    "APPEND": lambda m, a: m.append_one(),
    "APPENDS": lambda m, a: m.append(m.to_mark()),
    "ADDITEMS": lambda m, a: m.add(m.to_mark()),
    "SETITEM": lambda m, a: m.set_one(),
    "SETITEMS": lambda m, a: m.set_items(m.to_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda m, a: m.put(a)),
    "MEMOIZE": lambda m, a: m.put(len(m.memo)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, a: m.get(a)),
    "GLOBAL": lambda m, a: m.push(m.global_of(a)),
    "STACK_GLOBAL": lambda m, a: m.stack_global(),
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), lambda m, a: m.push(m.named("extension registry", str(a)))),
    "REDUCE": lambda m, a: m.reduce(),
    "NEWOBJ": lambda m, a: m.new(with_keywords=False),
    "NEWOBJ_EX": lambda m, a: m.new(with_keywords=True),
    "OBJ": lambda m, a: m.obj(),
    "INST": lambda m, a: m.inst(a),
    "BUILD": lambda m, a: m.build(),
    "BINPERSID": lambda m, a: m.persistent(),
}
