"""What a pickle would import and which library wrote it, read from its opcodes without running one of them.

    bytes ─ opcodes ─► a paper machine (stack, memo of names and plain values) ─► Look(imports, unusual, versions, …)

The look informs a person, and may refuse; it never admits a file. Pickle's machine can hide what it imports (names computed by
called functions), so a pickle that looks harmless is opened in quarantine like any other.

joblib writes the raw numbers of an array between two opcodes; their length is reckoned from the shape and type that stand before
them. Where that fails the look says `complete=False`, and the versions are sought by their key alone.
"""

from __future__ import annotations

import io
import pickletools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_OPCODES = 3_000_000  # bounds the time; a forest of thousands of trees stays far below
_MAX_NESTED = 10_000
_VERSION_KEY = b"_sklearn_version"

#: Why half a model is refused, whether it is seen before it is loaded or after.
HALF = "it holds a DictVectorizer and no model; give the model's file, and this one with --vectorizer"

#: Modules of the libraries whose models people pickle; what lies outside is worth a person's look.
_USUAL = frozenset(
    {"sklearn", "numpy", "scipy", "joblib", "pandas", "xgboost", "lightgbm", "collections", "copyreg", "copy_reg", "_codecs"}
)
#: Built-in types that such pickles name; any other built-in (eval, exec, getattr, …) is unusual.
_USUAL_BUILTINS = frozenset(
    {
        "object",
        "set",
        "frozenset",
        "list",
        "dict",
        "tuple",
        "bytearray",
        "bytes",
        "complex",
        "slice",
        "range",
        "int",
        "float",
        "str",
        "bool",
    }
)
#: Within the usual libraries, what runs or loads code rather than rebuilding a value.
_UNUSUAL_NAMES = frozenset(
    {"load", "loads", "exec", "eval", "runstring", "system", "open", "memmap", "fromfile", "genfromtxt", "loadtxt"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the opcodes tell; a plain value."""

    protocol: int
    imports: tuple[str, ...] = ()  # "module.name", in the order met
    unusual: tuple[str, ...] = ()  # those of `imports`, and opcodes, that no ordinary model needs
    versions: tuple[str, ...] = ()  # every _sklearn_version found
    complete: bool = True  # False: the opcodes could not be followed to the end
    ended_at: int = 0  # offset behind the last STOP
    problem: str = ""  # why it is not complete

    @property
    def is_half(self) -> bool:
        """Whether it can hold a DictVectorizer and no model: that can be said without loading a library, which takes seconds."""
        own = {name.rpartition(".")[2] for name in self.imports if name.partition(".")[0] not in ("numpy", "builtins")}
        return self.complete and not self.unusual and own == {"DictVectorizer"}


class _Mark:
    """Pickle's mark on the stack."""


_MARK = _Mark()


@dataclass(slots=True, eq=False)
class _Thing:
    """Something the pickle would build; known only by where it came from."""

    maker: str = ""  # "module.name"
    parts: tuple[Any, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)


def look(data: bytes) -> Look:
    """Read the opcodes of a pickle. Never raises on hostile bytes, and ends after MAX_OPCODES."""
    reader = _Reader(data)
    problem = ""
    try:
        reader.read()
    except _InvalidPickleError as lost:
        problem = str(lost)
    except Exception as cause:  # noqa: BLE001 - hostile bytes make pickletools raise nearly anything
        problem = f"{type(cause).__name__} at byte {reader.file.tell()}"
    imports = tuple(dict.fromkeys(reader.imports))
    versions = tuple(dict.fromkeys(reader.versions)) or _versions_by_key(data)
    return Look(
        protocol=reader.protocol,
        imports=imports,
        unusual=tuple(dict.fromkeys([name for name in imports if _is_unusual(name)] + reader.oddities)),
        versions=versions,
        complete=not problem,
        ended_at=reader.file.tell(),
        problem=problem,
    )


def _is_unusual(name: str) -> bool:
    module, _, last = name.rpartition(".")
    if module in {"builtins", "__builtin__"}:
        return last not in _USUAL_BUILTINS
    return module.partition(".")[0] not in _USUAL or last in _UNUSUAL_NAMES


def _versions_by_key(data: bytes) -> tuple[str, ...]:
    """Texts that stand directly behind the key, read by the opcodes from there on."""
    found = []
    for match in list(re.finditer(re.escape(_VERSION_KEY), data))[:100]:
        try:
            for opcode, argument, _ in pickletools.genops(data[match.end() : match.end() + 200].lstrip(b"'\"\n")):
                if isinstance(argument, str):
                    found.append(argument)
                if opcode.name not in {"BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"}:
                    break
        except Exception:  # noqa: BLE001, S112 - hostile bytes make pickletools raise nearly anything
            continue
    return tuple(dict.fromkeys(found))


class _InvalidPickleError(Exception):
    """The opcodes make no sense here."""


class _Reader:
    """The paper machine; lives as long as one look."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)
        self.size = len(data)
        self.protocol = 0
        self.imports: list[str] = []
        self.oddities: list[str] = []
        self.versions: list[str] = []
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._outer: list[tuple[list[Any], dict[int, Any]]] = []  # pickles that wait for a nested one to end
        self._count = 0

    def read(self) -> None:
        """Follow the opcodes of the pickle and of those nested in it."""
        while True:
            for opcode, argument, _ in self._opcodes():
                self._step(opcode, argument)
            if not self._outer:
                return
            self._stack, self._memo = self._outer.pop()

    def _opcodes(self) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
        for found in pickletools.genops(self.file):
            self._count += 1
            if self._count > MAX_OPCODES:
                raise _InvalidPickleError(f"more than {MAX_OPCODES} opcodes")
            yield found

    def _step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        name = opcode.name
        if name in _PUSHES:
            self._stack.append(argument)
        elif name in _MAKES:
            self._stack.append(_MAKES[name]())
        elif name in _STEPS:
            _STEPS[name](self, argument)
        else:
            self.oddities.append(f"opcode {name}")
            if name not in _HARMLESS_TO_STACK:
                self._stack.append(_Thing())

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise _InvalidPickleError("the stack is empty")
        return self._stack.pop()

    def _to_mark(self) -> list[Any]:
        items: list[Any] = []
        while self._stack:
            item = self._stack.pop()
            if item is _MARK:
                return items[::-1]
            items.append(item)
        raise _InvalidPickleError("there is no mark")

    def _top(self) -> Any:
        if not self._stack:
            raise _InvalidPickleError("the stack is empty")
        return self._stack[-1]

    def _import(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            self.oddities.append("an import whose name is computed")
            self._stack.append(_Thing())
            return
        self.imports.append(f"{module}.{name}")
        self._stack.append(_Thing(maker=f"{module}.{name}"))

    def proto(self, argument: int) -> None:
        self.protocol = max(self.protocol, argument)

    def nothing(self, _: object) -> None:
        """Opcodes that leave the stack alone."""

    def pop(self, _: object) -> None:
        if self._stack:
            self._stack.pop()

    def mark(self, _: object) -> None:
        self._stack.append(_MARK)

    def pop_mark(self, _: object) -> None:
        self._to_mark()

    def dup(self, _: object) -> None:
        self._stack.append(self._top())

    def global_(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._import(module, name)

    def stack_global(self, _: object) -> None:
        name, module = self._pop(), self._pop()
        self._import(module, name)

    def inst(self, argument: str) -> None:
        self._to_mark()
        self.global_(argument)

    def obj(self, _: object) -> None:
        items = self._to_mark()
        self._stack.append(_Thing(maker=_maker(items[0]) if items else "", parts=tuple(items[1:])))

    def reduce(self, _: object) -> None:
        parts, maker = self._pop(), self._pop()
        self._stack.append(_Thing(maker=_maker(maker), parts=parts if isinstance(parts, tuple) else ()))

    def newobj_ex(self, _: object) -> None:
        self._pop()
        self.reduce(None)

    def tuple_n(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._stack.append(tuple(items[::-1]))

    def tuple_(self, _: object) -> None:
        self._stack.append(tuple(self._to_mark()))

    def list_(self, _: object) -> None:
        self._to_mark()
        self._stack.append([])

    def dict_(self, _: object) -> None:
        items = self._to_mark()
        self._stack.append(_Thing())
        self._set(items)

    def append(self, _: object) -> None:
        self._pop()

    def setitem(self, _: object) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def setitems(self, _: object) -> None:
        self._set(self._to_mark())

    def _set(self, items: list[Any]) -> None:
        target = self._top()
        for key, value in zip(items[::2], items[1::2], strict=False):
            if isinstance(key, str):
                if key == "_sklearn_version" and isinstance(value, str):
                    self.versions.append(value[:40])
                if isinstance(target, _Thing):
                    target.state[key] = value

    def put(self, argument: int) -> None:
        self._memo[int(argument)] = self._top()

    def memoize(self, _: object) -> None:
        self._memo[len(self._memo)] = self._top()

    def get(self, argument: int) -> None:
        if int(argument) not in self._memo:
            raise _InvalidPickleError("a remembered value is missing")
        self._stack.append(self._memo[int(argument)])

    def build(self, _: object) -> None:
        state, target = self._pop(), self._top()
        if isinstance(target, _Thing) and target.maker == "joblib.numpy_pickle.NumpyArrayWrapper":
            self._skip_array(state.state if isinstance(state, _Thing) else {})

    def _skip_array(self, state: dict[str, Any]) -> None:
        """Step over the raw numbers that joblib wrote here, or into the pickle it wrote in their stead."""
        if "O" in _type_name(state.get("dtype")):
            if len(self._outer) >= _MAX_NESTED:
                raise _InvalidPickleError("pickles are nested too deep")
            self._outer.append((self._stack, self._memo))
            self._stack, self._memo = [], {}
            return
        size = _item_size(state.get("dtype"))
        for side in state.get("shape", ()):
            size *= side if isinstance(side, int) and side >= 0 else self.size + 1
        padding = 0
        if state.get("numpy_array_alignment_bytes") is not None:
            padding = 1 + (self.file.read(1) or b"\0")[0]
            self.file.seek(-1, io.SEEK_CUR)
        if size + padding > self.size - self.file.tell():
            raise _InvalidPickleError("an array is longer than the file")
        self.file.seek(size + padding, io.SEEK_CUR)


def _maker(thing: object) -> str:
    return thing.maker if isinstance(thing, _Thing) else ""


def _type_name(dtype: object) -> str:
    """NumPy's short name of a type, "f8", as the pickle gives it to numpy.dtype."""
    name = dtype.parts[0] if isinstance(dtype, _Thing) and dtype.parts else ""
    return name if isinstance(name, str) else ""


def _item_size(dtype: object) -> int:
    found = re.fullmatch(r"[<>|=]?([a-zA-Z])(\d{1,6})", _type_name(dtype))
    if not found:
        raise _InvalidPickleError("an array's type is not a simple one")
    return int(found[2]) * (4 if found[1] == "U" else 1)


_PUSHES = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    }
)
_MAKES: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": _Thing,
    "EMPTY_SET": _Thing,
}
#: Opcodes that nobody's model uses and that push nothing.
_HARMLESS_TO_STACK = frozenset({"READONLY_BUFFER", "PERSID", "BINPERSID"})
_STEPS: dict[str, Callable[[_Reader, Any], None]] = {
    "PROTO": _Reader.proto,
    "FRAME": _Reader.nothing,
    "STOP": _Reader.nothing,
    "POP": _Reader.pop,
    "MARK": _Reader.mark,
    "POP_MARK": _Reader.pop_mark,
    "DUP": _Reader.dup,
    "GLOBAL": _Reader.global_,
    "STACK_GLOBAL": _Reader.stack_global,
    "INST": _Reader.inst,
    "OBJ": _Reader.obj,
    "REDUCE": _Reader.reduce,
    "NEWOBJ": _Reader.reduce,
    "NEWOBJ_EX": _Reader.newobj_ex,
    "TUPLE1": lambda reader, _: reader.tuple_n(1),
    "TUPLE2": lambda reader, _: reader.tuple_n(2),
    "TUPLE3": lambda reader, _: reader.tuple_n(3),
    "TUPLE": _Reader.tuple_,
    "LIST": _Reader.list_,
    "DICT": _Reader.dict_,
    "FROZENSET": _Reader.list_,
    "APPEND": _Reader.append,
    "APPENDS": _Reader.pop_mark,
    "ADDITEMS": _Reader.pop_mark,
    "SETITEM": _Reader.setitem,
    "SETITEMS": _Reader.setitems,
    "PUT": _Reader.put,
    "BINPUT": _Reader.put,
    "LONG_BINPUT": _Reader.put,
    "MEMOIZE": _Reader.memoize,
    "GET": _Reader.get,
    "BINGET": _Reader.get,
    "LONG_BINGET": _Reader.get,
    "BUILD": _Reader.build,
}
