"""Pickles of published face models, read without running anything that they name.

A pickle is a program: it names functions and calls them. Here every name becomes a record of itself, and calling a
record only notes the arguments, so that unpickling builds a tree of notes, numbers, texts and containers. Arrays are
then made from the notes by this module's own code, each from bytes that the file really holds. A name that is not one
of those few that published models need is refused at once.

Read are numpy arrays, scalars and dtypes (numbers, texts, and objects that are themselves of these kinds), sparse
matrices of scipy, tensors of torch (as arrays; torch's own loader is not called), chumpy's arrays and selections (as
arrays; chumpy is not needed), dicts, lists, tuples and sets. Pickles of Python 2 are read as Latin-1.
"""

import io
import math
import os
import pickle
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sparse

from facerecon.artefacts import read_bytes
from facerecon.errors import InputError
from facerecon.morphable.formats.pickle_opcodes import check_opcodes

DTYPE = re.compile(r"[biufcSU][0-9]*|O8?|\?")
KEYS = (str, bytes, int, float, type(None))  # of dicts and sets; bool is an int
PLAIN = (str, bytes, bytearray, int, float, complex, type(None))
PERSISTENT_NAMES = frozenset({"PERSID", "BINPERSID"})
STORAGE_MAGIC, STORAGE_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch's file format before 1.6
STORAGES = {
    "torch.DoubleStorage": "<f8",
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "?",
}
"""Kinds of torch's storages that numpy has a type for, little-endian."""


def read_pickle(path: str | os.PathLike) -> Any:
    """What the pickle file at `path` holds. Raises InputError if it is missing, damaged, or names anything else."""
    return load_pickle(read_bytes(path, "download it again"), path)


def load_pickle(data: bytes, path: str | os.PathLike) -> Any:
    """What a pickle's bytes hold; `path` names the file in errors. Raises InputError as `read_pickle`."""
    with _damage_named(path):
        check_opcodes(io.BytesIO(data), len(data), path)
        return _Resolver(path).resolve(_NotingUnpickler(data, path).load())


@contextmanager
def _damage_named(path: str | os.PathLike) -> Iterator[None]:
    """Any error of reading hostile bytes, as one InputError."""
    try:
        yield
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path}: asks for more memory than there is; is it the publisher's file?") from None
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path}: not a pickle of arrays, or damaged ({reason}); download it again") from error


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


class _StorageUnpickler(_NotingUnpickler):
    """The same for the heads of torch's storages, which name what they hold by persistent names and storage classes."""

    def persistent_load(self, name: Any) -> Any:
        return _PersistentName(name)

    def find_class(self, module: str, name: str) -> Any:
        dotted = f"{module}.{name}"
        return dotted if dotted in STORAGES else super().find_class(module, name)


class _Storage:
    """The numbers of a torch storage, told from an array."""

    __slots__ = ("values",)

    def __init__(self, values: np.ndarray):
        self.values = values


class _PersistentName:
    """What a storage's head says of it."""

    __slots__ = ("content",)

    def __init__(self, content: Any):
        self.content = content


def _read_storage(data: bytes, path: str | os.PathLike) -> np.ndarray:
    """The numbers (n,) of a torch storage as `torch.save` writes one into a pickle.

    Five pickles (magic number, protocol, machine, what the storage is, and the list of its one key), the number of
    elements as int64, and the elements. Raises ValueError for anything else, and InputError as `load_pickle`.
    """
    stream = io.BytesIO(data)

    def unpickle(permitted: frozenset[str] = frozenset()) -> Any:
        start = stream.tell()
        check_opcodes(stream, len(data), path, permitted)
        return _StorageUnpickler(data[start : stream.tell()], path).load()

    if unpickle() != STORAGE_MAGIC or unpickle() != STORAGE_PROTOCOL:
        raise ValueError("a tensor in another format than torch's before 1.6")
    machine, head, keys = unpickle(), unpickle(PERSISTENT_NAMES), unpickle()
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise ValueError("a tensor of a big-endian machine")
    if not isinstance(head, _PersistentName) or not isinstance(head.content, tuple) or len(head.content) != 6:
        raise ValueError("a tensor without storage")
    kind, storage, key, _, count, view = head.content
    if kind != "storage" or storage not in STORAGES or keys != [key] or view is not None:
        raise ValueError("a tensor of a kind that is not read")
    dtype = np.dtype(STORAGES[storage])
    if stream.read(8) != np.int64(count).astype("<i8").tobytes():
        raise ValueError("a tensor whose storage has another size than it says")
    content = stream.read()
    if len(content) != count * dtype.itemsize:
        raise ValueError("a tensor whose storage is cut")
    return np.frombuffer(content, dtype)


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

    def _storage(self, arguments: tuple, state: Any) -> _Storage:
        (content,) = arguments
        return _Storage(_read_storage(bytes(_octets(self.resolve(content))), self._path))

    def _tensor(self, arguments: tuple, state: Any) -> np.ndarray:
        storage, offset, size, stride = (self.resolve(argument) for argument in arguments[:4])
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor without storage")
        size, stride = tuple(size), tuple(stride)
        if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in (offset, *size, *stride)):
            raise ValueError("a tensor with an impossible shape")
        count, values = math.prod(size), storage.values
        if count > len(values):  # strides of 0 would repeat its elements without end
            raise ValueError("a tensor larger than its storage")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if count and last >= len(values):
            raise ValueError("a tensor that reaches beyond its storage")
        if not count:
            return np.zeros(size, values.dtype)
        steps = [step * values.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(values[offset:], size, steps).astype(values.dtype.newbyteorder("="))


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
