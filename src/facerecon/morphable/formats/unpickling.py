"""Pickles of published face models, read without running anything that they name.

A pickle is a program: it names functions and calls them. Here every name becomes a record of itself, and calling a
record only notes the arguments, so that unpickling builds a tree of notes, numbers, texts and containers. Arrays are
then made from the notes by this module's own code, each from bytes that the file really holds. A name that is not one
of those few that published models need is refused at once.

Read are numpy arrays, scalars and dtypes (numbers, texts, and objects that are themselves of these kinds), sparse
matrices of scipy, tensors of torch (as arrays), chumpy's arrays and selections (as arrays; chumpy is not needed),
dicts, lists, tuples and sets. Pickles of Python 2 are read as Latin-1.
"""

import io
import math
import os
import pickle
import pickletools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sparse

from facerecon.errors import InputError

OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}
FORBIDDEN_OPCODES = frozenset({"PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"})
LINES = {"STRING": 1, "GLOBAL": 2, "INST": 2}  # texts up to a line's end, which pickletools would take for ASCII
MEMO_OPCODES = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
DTYPE = re.compile(r"[biufcSU][0-9]*|O8?|\?")
KEYS = (str, bytes, int, float, type(None))  # of dicts and sets; bool is an int
PLAIN = (str, bytes, bytearray, int, float, complex, type(None))


def read_pickle(path: str | os.PathLike) -> Any:
    """What the pickle file at `path` holds. Raises InputError if it is missing, damaged, or names anything else."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    return load_pickle(data, path)


def load_pickle(data: bytes, path: str | os.PathLike) -> Any:
    """What a pickle's bytes hold; `path` names the file in errors. Raises InputError as `read_pickle`."""
    with _damage_named(path):
        _check_opcodes(data, path)
        return _Resolver(path).resolve(_NotingUnpickler(data, path).load())


@contextmanager
def _damage_named(path: str | os.PathLike) -> Iterator[None]:
    """Any error of reading hostile bytes, as one InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path}: not a pickle of arrays, or damaged ({reason}); download it again") from error


def _check_opcodes(data: bytes, path: str | os.PathLike) -> None:
    """Refuse what could call out or claim memory that the file does not fill."""
    stream = io.BytesIO(data)
    name = ""
    while name != "STOP":
        opcode = OPCODES.get(stream.read(1))
        if opcode is None:
            raise ValueError("it is cut short, or is no pickle")
        name = opcode.name
        if name in FORBIDDEN_OPCODES:
            raise InputError(f"{path}: a pickle with the opcode {name}, which no model needs; refused")
        if name in LINES:
            for _ in range(LINES[name]):
                stream.readline()
        elif opcode.arg is not None:
            argument = opcode.arg.reader(stream)
            # The memo is one block as long as its largest index: a short file could ask for gigabytes.
            if name in MEMO_OPCODES and int(argument) > len(data):
                raise ValueError("impossible memo index")


class _Note:
    """Something that a pickle asked for by name: with what arguments, and with what state."""

    __slots__ = ("arguments", "state")
    name: ClassVar[str]

    def __new__(cls, *arguments: Any) -> "_Note":
        note = object.__new__(cls)
        note.arguments, note.state = arguments, None
        return note

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _NotingUnpickler(pickle.Unpickler):
    """Unpickler whose every name is a class of notes, made afresh for each file so that no file can alter another's."""

    def __init__(self, data: bytes, path: str | os.PathLike):
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._path = path
        self._classes: dict[str, type] = {}

    def find_class(self, module: str, name: str) -> type:
        dotted = f"{module}.{name}"
        if dotted in DICTS:
            return self._classes.setdefault(dotted, type("NamedDict", (dict,), {"__slots__": ()}))
        if dotted not in MAKERS and dotted not in NAMED_ONLY:
            shown = ascii(dotted[:80])[1:-1]
            raise InputError(
                f"{self._path}: the pickle names {shown}, which is neither an array nor a plain container; "
                "nothing was run; use the publisher's own file"
            )
        if dotted not in self._classes:
            self._classes[dotted] = type("Note", (_Note,), {"__slots__": (), "name": dotted})
        return self._classes[dotted]


class _Resolver:
    """Makes the objects of one unpickled tree of notes."""

    def __init__(self, path: str | os.PathLike):
        self._path = path
        self._done: dict[int, Any] = {}
        self._open: set[int] = set()

    def resolve(self, value: Any) -> Any:
        """`value` with every note in it made; shared parts are made once. ValueError for what cannot be made."""
        if isinstance(value, PLAIN):
            return value
        key = id(value)
        if key in self._done:
            return self._done[key]
        if key in self._open:
            raise ValueError("it contains itself")
        self._open.add(key)
        made = self._make(value)
        self._open.remove(key)
        self._done[key] = made
        return made

    def _make(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {_checked_key(name): self.resolve(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            items = [self.resolve(item) for item in value]
            return items if isinstance(value, list) else tuple(items)
        if isinstance(value, set | frozenset):
            return {_checked_key(item) for item in value}
        if isinstance(value, _Note):
            return self._make_named(value)
        raise ValueError(f"a bare {type(value).__name__}")

    def _make_named(self, note: _Note) -> Any:
        name, arguments = note.name, note.arguments
        if (
            name in RECONSTRUCTORS
        ):  # new-style objects of Python 2 and of protocols 0 and 1: (class, base, base's state)
            name, arguments = arguments[0].name, ()
        if name not in MAKERS:
            raise ValueError(f"{name} without content")
        return MAKERS[name](self, arguments, note.state)

    def _dtype(self, arguments: tuple, state: Any) -> np.dtype:
        code = _text(arguments[0])
        if not DTYPE.fullmatch(code):
            raise ValueError(f"an array of type {code[:20]!a}")
        dtype = np.dtype(code)
        if state is not None:
            order, *fields = state[1:5]
            if any(part is not None for part in fields):
                raise ValueError("an array with fields")
            if order in ("<", ">"):
                dtype = dtype.newbyteorder(order)
        return dtype

    def _array(self, arguments: tuple, state: Any) -> np.ndarray:
        """`_reconstruct(class, (0,), 'b')` with the state (version, shape, dtype, is Fortran, content)."""
        _, shape, dtype, fortran, content = state
        return self._filled(content, dtype, shape, "F" if fortran else "C")

    def _array_from_buffer(self, arguments: tuple, state: Any) -> np.ndarray:
        content, dtype, shape, order = arguments
        return self._filled(content, dtype, shape, "F" if order == "F" else "C")

    def _scalar(self, arguments: tuple, state: Any) -> Any:
        dtype, content = arguments
        return self._filled(content, dtype, (), "C")[()]

    def _filled(self, content: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
        dtype, shape = self.resolve(dtype), self.resolve(shape)
        if not isinstance(dtype, np.dtype):
            raise ValueError("an array without a type")
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if not all(isinstance(length, int) and length >= 0 for length in shape):
            raise ValueError("an array with an impossible shape")
        if dtype.kind == "O":
            items = self.resolve(content)
            if not isinstance(items, list) or math.prod(shape) != len(items):
                raise ValueError("an array whose shape is not that of its content")
            array = np.empty(len(items), object)
            for index, item in enumerate(items):
                array[index] = item
            return array.reshape(shape, order=order)
        content = _octets(self.resolve(content))
        if dtype.itemsize == 0 or math.prod(shape) * dtype.itemsize != len(content):
            raise ValueError("an array whose shape is not that of its content")
        array = np.frombuffer(content, dtype).reshape(shape, order=order)
        return array.astype(dtype.newbyteorder("="), copy=False)

    def _octets_of_text(self, arguments: tuple, state: Any) -> bytes:
        text, encoding = arguments
        if encoding not in ("latin1", "latin-1"):
            raise ValueError("bytes in another encoding than Latin-1")
        return _octets(text)

    def _no_octets(self, arguments: tuple, state: Any) -> bytes:
        if arguments:
            raise ValueError("bytes made of something else")
        return b""

    def _set(self, arguments: tuple, state: Any) -> set:
        return {_checked_key(item) for item in (arguments[0] if arguments else ())}

    def _sparse(self, arguments: tuple, state: Any, kind: str) -> sparse.spmatrix:
        state = self.resolve(state)
        shape = state["_shape"] if "_shape" in state else state["shape"]
        rows, columns = (int(length) for length in shape)
        data = _vector(state["data"], "biufc")
        if kind == "coo":
            pair = state["coords"] if "coords" in state else (state["row"], state["col"])
            row, column = (_vector(index, "iu", len(data)) for index in pair)
            _check_range(row, rows)
            _check_range(column, columns)
            return sparse.coo_matrix((data, (row, column)), shape=(rows, columns))
        major, minor = (columns, rows) if kind == "csc" else (rows, columns)
        indices = _vector(state["indices"], "iu", len(data))
        starts = _vector(state["indptr"], "iu", major + 1).astype(np.int64)
        _check_range(indices, minor)
        if starts[0] != 0 or starts[-1] != len(data) or (np.diff(starts) < 0).any():
            raise ValueError("a sparse matrix with impossible column starts")
        made = sparse.csc_matrix if kind == "csc" else sparse.csr_matrix
        return made((data, indices, starts), shape=(rows, columns))

    def _chumpy_array(self, arguments: tuple, state: Any) -> np.ndarray:
        return np.asarray(self.resolve(state["x"]), dtype=np.float64)

    def _chumpy_selection(self, arguments: tuple, state: Any) -> np.ndarray:
        source, index = np.asarray(self.resolve(state["a"])), np.asarray(self.resolve(state["idxs"]))
        if index.size > source.size:
            raise ValueError("a selection larger than its array")
        return source.ravel()[index].reshape(self.resolve(state["preferred_shape"]))

    def _storage(self, arguments: tuple, state: Any) -> Any:
        import torch

        content = _octets(self.resolve(arguments[0]))
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)

    def _tensor(self, arguments: tuple, state: Any) -> np.ndarray:
        import torch

        storage, offset, size, stride = (self.resolve(argument) for argument in arguments[:4])
        if not isinstance(storage, torch.storage.TypedStorage):
            raise ValueError("a tensor without storage")
        whole = torch.empty(0, dtype=storage.dtype).set_(storage)
        if math.prod(size) > whole.numel():  # strides of 0 would repeat its elements without end
            raise ValueError("a tensor larger than its storage")
        # set_ checks that the storage really holds these elements
        return torch.empty(0, dtype=storage.dtype).set_(storage, offset, size, stride).numpy().copy()


Maker = Callable[[_Resolver, tuple, Any], Any]


def _sparse_maker(kind: str) -> Maker:
    return lambda resolver, arguments, state: resolver._sparse(arguments, state, kind)


MAKERS: dict[str, Maker] = {
    "numpy.dtype": _Resolver._dtype,
    "_codecs.encode": _Resolver._octets_of_text,
    "__builtin__.bytes": _Resolver._no_octets,
    "builtins.bytes": _Resolver._no_octets,
    "__builtin__.set": _Resolver._set,
    "builtins.set": _Resolver._set,
    "__builtin__.frozenset": _Resolver._set,
    "builtins.frozenset": _Resolver._set,
    "chumpy.ch.Ch": _Resolver._chumpy_array,
    "chumpy.reordering.Select": _Resolver._chumpy_selection,
    "torch._utils._rebuild_tensor": _Resolver._tensor,
    "torch._utils._rebuild_tensor_v2": _Resolver._tensor,
    "torch.storage._load_from_bytes": _Resolver._storage,
}
"""Dotted name -> what makes the object from its arguments and state."""
for _core in ("numpy.core", "numpy._core"):
    MAKERS[f"{_core}.multiarray._reconstruct"] = _Resolver._array
    MAKERS[f"{_core}.multiarray.scalar"] = _Resolver._scalar
    MAKERS[f"{_core}.numeric._frombuffer"] = _Resolver._array_from_buffer
for _kind in ("csc", "csr", "coo"):
    for _module in (_kind, f"_{_kind}"):
        MAKERS[f"scipy.sparse.{_module}.{_kind}_matrix"] = _sparse_maker(_kind)
        MAKERS[f"scipy.sparse.{_module}.{_kind}_array"] = _sparse_maker(_kind)

RECONSTRUCTORS = frozenset({"copy_reg._reconstructor", "copyreg._reconstructor", "copyreg.__newobj__"})
NAMED_ONLY = RECONSTRUCTORS | {
    "__builtin__.object",
    "builtins.object",
    "numpy.ndarray",
    "numpy.matrixlib.defmatrix.matrix",
}
"""Names that only stand as an argument of another."""
DICTS = frozenset({"collections.OrderedDict", "__builtin__.dict", "builtins.dict"})


def _checked_key(key: Any) -> Any:
    if not isinstance(key, KEYS):
        raise ValueError("a key that is neither text nor a number")
    return key


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _octets(value: Any) -> bytes | bytearray:
    """The bytes of Python 3, or of a Python 2 string that was read as Latin-1."""
    if isinstance(value, str):
        return value.encode("latin1")
    if not isinstance(value, bytes | bytearray):
        raise ValueError("content that is not bytes")
    return value


def _vector(value: Any, kinds: str, length: int | None = None) -> np.ndarray:
    array = np.asarray(value)
    if array.ndim != 1 or array.dtype.kind not in kinds or length not in (None, len(array)):
        raise ValueError("a sparse matrix with wrong-sized parts")
    return array


def _check_range(index: np.ndarray, count: int) -> None:
    if len(index) and (index.min() < 0 or index.max() >= count):
        raise ValueError("a sparse matrix with an index outside it")
