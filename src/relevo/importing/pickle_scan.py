"""Scans the opcodes of a pickle for its imports and the library that wrote it, without executing any of them.

    bytes ─ opcodes ─► interpreter without side effects (stack, memo) ─► PickleScan(imports, suspicious_imports, versions, …)

The scan informs the user, and may reject a file; it never admits one. A pickle can hide its imports (names computed by called
functions), so a harmless-looking pickle is opened in the sandbox like any other.

joblib writes the raw values of an array between two opcodes; their length follows from the preceding shape and type. Where that
fails the scan reports `complete=False`, and the versions are searched by their key alone.
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

#: Why a vectorizer without a model is rejected, before loading or after.
VECTORIZER_ONLY = "it holds a DictVectorizer and no model; give the model's file, and this one with --vectorizer"

#: Modules of the libraries whose models are pickled; imports from any other module are reported as suspicious.
_EXPECTED_MODULES = frozenset(
    {"sklearn", "numpy", "scipy", "joblib", "pandas", "xgboost", "lightgbm", "collections", "copyreg", "copy_reg", "_codecs"}
)
#: Built-in types in such pickles; any other built-in (eval, exec, getattr, …) is suspicious.
_EXPECTED_BUILTINS = frozenset(
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
#: Names in the expected libraries that run or load code rather than rebuild a value.
_SUSPICIOUS_NAMES = frozenset(
    {"load", "loads", "exec", "eval", "runstring", "system", "open", "memmap", "fromfile", "genfromtxt", "loadtxt"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PickleScan:
    """The result of a scan; a plain value."""

    protocol: int
    imports: tuple[str, ...] = ()  # "module.name", in the order met
    suspicious_imports: tuple[str, ...] = ()  # imports and opcodes that no ordinary model needs
    versions: tuple[str, ...] = ()  # every _sklearn_version
    complete: bool = True  # False: the opcodes could not be followed to the end
    ended_at: int = 0  # offset behind the last STOP
    problem: str = ""  # why it is not complete

    @property
    def is_vectorizer_only(self) -> bool:
        """Whether it holds a DictVectorizer and no model; known without loading a library, which takes seconds."""
        names = {name.rpartition(".")[2] for name in self.imports if name.partition(".")[0] not in ("numpy", "builtins")}
        return self.complete and not self.suspicious_imports and names == {"DictVectorizer"}


class _Mark:
    """The mark object on the pickle stack."""


_MARK = _Mark()


@dataclass(slots=True, eq=False)
class _Object:
    """An object that the pickle would build, known only by its constructor, arguments and state."""

    constructor: str = ""  # "module.name"
    arguments: tuple[Any, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)


def scan_pickle(data: bytes) -> PickleScan:
    """Scan the opcodes of a pickle. Never raises on hostile bytes, and ends after MAX_OPCODES."""
    interpreter = _Interpreter(data)
    problem = ""
    try:
        interpreter.run()
    except _InvalidPickleError as error:
        problem = str(error)
    except Exception as cause:  # noqa: BLE001 - hostile bytes make pickletools raise nearly anything
        problem = f"{type(cause).__name__} at byte {interpreter.file.tell()}"
    imports = tuple(dict.fromkeys(interpreter.imports))
    versions = tuple(dict.fromkeys(interpreter.versions)) or _versions_by_key(data)
    return PickleScan(
        protocol=interpreter.protocol,
        imports=imports,
        suspicious_imports=tuple(dict.fromkeys([name for name in imports if _is_suspicious(name)] + interpreter.suspicious)),
        versions=versions,
        complete=not problem,
        ended_at=interpreter.file.tell(),
        problem=problem,
    )


def _is_suspicious(name: str) -> bool:
    module, _, last = name.rpartition(".")
    if module in {"builtins", "__builtin__"}:
        return last not in _EXPECTED_BUILTINS
    return module.partition(".")[0] not in _EXPECTED_MODULES or last in _SUSPICIOUS_NAMES


def _versions_by_key(data: bytes) -> tuple[str, ...]:
    """Find the texts that directly follow the version key, by decoding the opcodes from there."""
    versions = []
    for match in list(re.finditer(re.escape(_VERSION_KEY), data))[:100]:
        try:
            for opcode, argument, _ in pickletools.genops(data[match.end() : match.end() + 200].lstrip(b"'\"\n")):
                if isinstance(argument, str):
                    versions.append(argument)
                if opcode.name not in {"BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"}:
                    break
        except Exception:  # noqa: BLE001, S112 - hostile bytes make pickletools raise nearly anything
            continue
    return tuple(dict.fromkeys(versions))


class _InvalidPickleError(Exception):
    """The opcodes are not a valid pickle."""


class _Interpreter:
    """Interprets the opcodes without executing them. Lifetime: one scan."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)
        self.size = len(data)
        self.protocol = 0
        self.imports: list[str] = []
        self.suspicious: list[str] = []
        self.versions: list[str] = []
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._suspended: list[tuple[list[Any], dict[int, Any]]] = []  # outer pickles, while a nested one is read
        self._count = 0

    def run(self) -> None:
        """Interpret the opcodes of the pickle and of the pickles nested in it."""
        while True:
            for opcode, argument, _ in self._opcodes():
                self._step(opcode, argument)
            if not self._suspended:
                return
            self._stack, self._memo = self._suspended.pop()

    def _opcodes(self) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
        for instruction in pickletools.genops(self.file):
            self._count += 1
            if self._count > MAX_OPCODES:
                raise _InvalidPickleError(f"more than {MAX_OPCODES} opcodes")
            yield instruction

    def _step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        name = opcode.name
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in _HANDLERS:
            _HANDLERS[name](self, argument)
        else:
            self.suspicious.append(f"opcode {name}")
            if name not in _WITHOUT_RESULT:
                self._stack.append(_Object())

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise _InvalidPickleError("the stack is empty")
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
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
            self.suspicious.append("an import whose name is computed")
            self._stack.append(_Object())
            return
        self.imports.append(f"{module}.{name}")
        self._stack.append(_Object(constructor=f"{module}.{name}"))

    def proto(self, argument: int) -> None:
        self.protocol = max(self.protocol, argument)

    def ignore(self, _: object) -> None:
        """Opcodes that do not change the stack."""

    def pop(self, _: object) -> None:
        if self._stack:
            self._stack.pop()

    def mark(self, _: object) -> None:
        self._stack.append(_MARK)

    def pop_mark(self, _: object) -> None:
        self._pop_to_mark()

    def dup(self, _: object) -> None:
        self._stack.append(self._top())

    def global_(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._import(module, name)

    def stack_global(self, _: object) -> None:
        name, module = self._pop(), self._pop()
        self._import(module, name)

    def inst(self, argument: str) -> None:
        self._pop_to_mark()
        self.global_(argument)

    def obj(self, _: object) -> None:
        items = self._pop_to_mark()
        self._stack.append(_Object(constructor=_constructor(items[0]) if items else "", arguments=tuple(items[1:])))

    def reduce(self, _: object) -> None:
        arguments, constructor = self._pop(), self._pop()
        self._stack.append(
            _Object(constructor=_constructor(constructor), arguments=arguments if isinstance(arguments, tuple) else ())
        )

    def newobj_ex(self, _: object) -> None:
        self._pop()
        self.reduce(None)

    def tuple_n(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._stack.append(tuple(items[::-1]))

    def tuple_(self, _: object) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def list_(self, _: object) -> None:
        self._pop_to_mark()
        self._stack.append([])

    def dict_(self, _: object) -> None:
        items = self._pop_to_mark()
        self._stack.append(_Object())
        self._set(items)

    def append(self, _: object) -> None:
        self._pop()

    def setitem(self, _: object) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def setitems(self, _: object) -> None:
        self._set(self._pop_to_mark())

    def _set(self, items: list[Any]) -> None:
        target = self._top()
        for key, value in zip(items[::2], items[1::2], strict=False):
            if isinstance(key, str):
                if key == "_sklearn_version" and isinstance(value, str):
                    self.versions.append(value[:40])
                if isinstance(target, _Object):
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
        if isinstance(target, _Object) and target.constructor == "joblib.numpy_pickle.NumpyArrayWrapper":
            self._skip_array(state.state if isinstance(state, _Object) else {})

    def _skip_array(self, state: dict[str, Any]) -> None:
        """Skip the raw array values that joblib wrote here, or enter the pickle that it wrote instead."""
        if "O" in _type_name(state.get("dtype")):
            if len(self._suspended) >= _MAX_NESTED:
                raise _InvalidPickleError("pickles are nested too deep")
            self._suspended.append((self._stack, self._memo))
            self._stack, self._memo = [], {}
            return
        size = _item_size(state.get("dtype"))
        for dimension in state.get("shape", ()):
            size *= dimension if isinstance(dimension, int) and dimension >= 0 else self.size + 1
        padding = 0
        if state.get("numpy_array_alignment_bytes") is not None:
            padding = 1 + (self.file.read(1) or b"\0")[0]
            self.file.seek(-1, io.SEEK_CUR)
        if size + padding > self.size - self.file.tell():
            raise _InvalidPickleError("an array is longer than the file")
        self.file.seek(size + padding, io.SEEK_CUR)


def _constructor(value: object) -> str:
    return value.constructor if isinstance(value, _Object) else ""


def _type_name(dtype: object) -> str:
    """Return NumPy's short type name, such as "f8", that the pickle passes to numpy.dtype."""
    name = dtype.arguments[0] if isinstance(dtype, _Object) and dtype.arguments else ""
    return name if isinstance(name, str) else ""


def _item_size(dtype: object) -> int:
    match = re.fullmatch(r"[<>|=]?([a-zA-Z])(\d{1,6})", _type_name(dtype))
    if not match:
        raise _InvalidPickleError("an array's type is not a simple one")
    return int(match[2]) * (4 if match[1] == "U" else 1)


_LITERALS = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    }
)
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": _Object,
    "EMPTY_SET": _Object,
}
#: Opcodes that no model uses and that push nothing.
_WITHOUT_RESULT = frozenset({"READONLY_BUFFER", "PERSID", "BINPERSID"})
_HANDLERS: dict[str, Callable[[_Interpreter, Any], None]] = {
    "PROTO": _Interpreter.proto,
    "FRAME": _Interpreter.ignore,
    "STOP": _Interpreter.ignore,
    "POP": _Interpreter.pop,
    "MARK": _Interpreter.mark,
    "POP_MARK": _Interpreter.pop_mark,
    "DUP": _Interpreter.dup,
    "GLOBAL": _Interpreter.global_,
    "STACK_GLOBAL": _Interpreter.stack_global,
    "INST": _Interpreter.inst,
    "OBJ": _Interpreter.obj,
    "REDUCE": _Interpreter.reduce,
    "NEWOBJ": _Interpreter.reduce,
    "NEWOBJ_EX": _Interpreter.newobj_ex,
    "TUPLE1": lambda reader, _: reader.tuple_n(1),
    "TUPLE2": lambda reader, _: reader.tuple_n(2),
    "TUPLE3": lambda reader, _: reader.tuple_n(3),
    "TUPLE": _Interpreter.tuple_,
    "LIST": _Interpreter.list_,
    "DICT": _Interpreter.dict_,
    "FROZENSET": _Interpreter.list_,
    "APPEND": _Interpreter.append,
    "APPENDS": _Interpreter.pop_mark,
    "ADDITEMS": _Interpreter.pop_mark,
    "SETITEM": _Interpreter.setitem,
    "SETITEMS": _Interpreter.setitems,
    "PUT": _Interpreter.put,
    "BINPUT": _Interpreter.put,
    "LONG_BINPUT": _Interpreter.put,
    "MEMOIZE": _Interpreter.memoize,
    "GET": _Interpreter.get,
    "BINGET": _Interpreter.get,
    "LONG_BINGET": _Interpreter.get,
    "BUILD": _Interpreter.build,
}
