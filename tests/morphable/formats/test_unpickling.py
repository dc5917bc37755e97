import collections
import io
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from publisher_files import Ch, Select, pretended_chumpy, python2_pickle

from facerecon.errors import InputError
from facerecon.morphable.formats.files import NpzFile, load_npy, read_content
from facerecon.morphable.formats.unpickling import load_pickle, read_pickle

ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
    np.arange(4, dtype=">f4"),
    np.array(True),
    np.array(["a", "bcd"]),
    np.zeros((0, 3), np.float32),
    np.arange(3, dtype=np.uint32)[::2],
]


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def refusal(data: bytes) -> str:
    """The one line with which a pickle is refused."""
    with pytest.raises(InputError) as caught:
        load_pickle(data, "model.pkl")
    text = str(caught.value)
    assert text.startswith("model.pkl: ") and "\n" not in text and len(text) < 400
    return text


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype.str}{array.shape}")
def test_arrays_of_every_protocol(array: np.ndarray, protocol: int) -> None:
    value = load_pickle(pickle.dumps({"a": array, "b": [array, 1.5]}, protocol), "file")
    for found in (value["a"], value["b"][0]):
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_python_2_pickles(protocol: int) -> None:
    odd = np.arange(256, dtype=np.uint8)  # every byte
    value = {"odd": odd, "name": "Köpfe", "nested": (1, [2.5, None, True]), "set": {"x"}, "scalar": np.float64(3)}
    found = load_pickle(python2_pickle(value, protocol), "file")
    np.testing.assert_array_equal(found["odd"], odd)
    assert found["name"] == "Köpfe" and found["nested"] == (1, [2.5, None, True])
    assert found["set"] == {"x"} and found["scalar"] == 3


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("make", [sparse.csc_matrix, sparse.csr_matrix, sparse.coo_matrix, sparse.csr_array])
def test_sparse_matrices(make: type, protocol: int) -> None:
    dense = np.array([[0, 1.5, 0], [2, 0, 0]])
    found = load_pickle(pickle.dumps({"m": make(dense)}, protocol), "file")["m"]
    assert sparse.issparse(found)
    np.testing.assert_array_equal(found.toarray(), dense)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_chumpy_arrays_without_chumpy(protocol: int) -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    index = np.arange(24).reshape(2, 3, 4)[:, :, :2]
    value = {"plain": Ch(x), "part": Select(Ch(x), index.ravel(), index.shape)}
    found = load_pickle(python2_pickle(value, protocol), "file")
    np.testing.assert_array_equal(found["plain"], x)
    np.testing.assert_array_equal(found["part"], x[:, :, :2])


def test_chumpy_arrays_of_python_3() -> None:
    with pretended_chumpy():
        data = pickle.dumps({"v": Ch(np.eye(3))}, 4)
    np.testing.assert_array_equal(load_pickle(data, "file")["v"], np.eye(3))


def test_tensors_become_arrays() -> None:
    value = torch.arange(12).reshape(3, 4).t()
    for protocol in (2, 4):
        data = pickle.dumps({"t": value, "half": torch.ones(2).half()}, protocol)
        found = load_pickle(data, "file")
        np.testing.assert_array_equal(found["t"], value.numpy())
        assert found["half"].dtype == np.float16


def test_tensors_are_read_without_torch_s_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.load has had holes (CVE-2025-32434, CVE-2026-24747) in versions that this package works with."""

    def called(*arguments: Any, **options: Any) -> None:
        raise AssertionError("torch read the file")

    whole = torch.arange(24, dtype=torch.int32).reshape(4, 6)
    tensors = [
        whole[1:3, 2:5].t(),
        whole[:, ::2],
        whole[2, 3],
        torch.zeros(0, 3),
        torch.tensor([True, False]),
        torch.tensor([1.5, -2], dtype=torch.float64),
        torch.arange(3, dtype=torch.uint8),
    ]
    data = pickle.dumps(tensors, 2)
    for loader in ("load", "storage._load_from_bytes", "serialization.load"):
        monkeypatch.setattr(f"torch.{loader}", called)
    for found, tensor in zip(load_pickle(data, "file"), tensors, strict=True):
        np.testing.assert_array_equal(found, tensor.numpy())
        assert found.dtype == tensor.numpy().dtype


def test_tensors_that_their_bytes_do_not_fill_are_refused() -> None:
    data = pickle.dumps(torch.arange(6.0).reshape(2, 3), 4)
    storage = np.arange(6, dtype="<f4").tobytes()
    assert data.count(storage) == 1
    count = data.index(storage) - 8
    more = data[:count] + np.int64(1 << 40).tobytes() + data[count + 8 :]
    assert "another size" in refusal(more)
    # K is the opcode of small whole numbers: the size (2, 3) and its strides (3, 1)
    assert data.count(b"K\x02K\x03\x86") == data.count(b"K\x03K\x01\x86") == 1
    assert "larger than its storage" in refusal(data.replace(b"K\x02K\x03\x86", b"K\x09K\x03\x86"))
    assert "reaches beyond" in refusal(data.replace(b"K\x03K\x01\x86", b"K\x04K\x01\x86"))
    assert "BFloat16Storage" in refusal(pickle.dumps(torch.ones(2, dtype=torch.bfloat16), 4))
    assert "little_endian" in str(data) and "big-endian" in refusal(data.replace(b"little_endian", b"LITTLE_endian"))


def test_storages_name_nothing_else() -> None:
    """The head of a storage may use persistent names; nothing else in a file may, and its names stay inert."""
    good = pickle.dumps(torch.ones(2), 4)
    assert good.count(b"torch\nFloatStorage\n") == 1
    for name in (b"posix\nsystem", b"torch\nload", b"numpy\nload"):
        padded = name + b" " * (len(b"torch\nFloatStorage") - len(name))
        assert name.partition(b"\n")[2].decode() in refusal(good.replace(b"torch\nFloatStorage", padded))


def test_what_would_grow_without_end_is_refused() -> None:
    repeated = pickle.dumps(torch.ones(1).expand(2**40), 2)
    assert "larger than its storage" in refusal(repeated)
    assert "memo" in refusal(b"Nr" + struct.pack("<I", 1_000_000) + b".")
    index = np.zeros(100, int)
    assert "larger than its array" in refusal(python2_pickle(Select(Ch(np.eye(2)), index, index.shape)))


def test_named_dicts_and_object_arrays() -> None:
    ragged = np.empty(2, object)
    ragged[0], ragged[1] = np.arange(3), {"k": [1]}
    found = load_pickle(pickle.dumps(collections.OrderedDict(a=ragged), 4), "file")
    np.testing.assert_array_equal(found["a"][0], np.arange(3))
    assert found["a"][1] == {"k": [1]}


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (pickle.dumps(Calls(os.system, "touch marker"), 2), "posix.system"),
        (pickle.dumps(Calls(eval, "open('marker', 'w')"), 4), "builtins.eval"),
        (pickle.dumps(Calls(np.load, "x.npy", None, True), 2), "numpy.load"),
        (pickle.dumps(Calls(getattr, np.ndarray, "tofile"), 2), "getattr"),
        (pickle.dumps({"a": [np.eye(2), Calls(open, "marker", "w")]}, 4), "io.open"),
        (pickle.dumps(Calls(Calls, 1), 4), "Calls"),
        (b"cos\nsystem\n(S'touch marker'\ntR.", "os.system"),
        (b"(S'touch marker'\nios\nsystem\n.", "os.system"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0ecore.os.systemq\x00\x93.", "numpy.core.os.system"),
        (b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\ntRcos\nsystem\ntR.", "os.system"),
        (b"cfunctools\npartial\n(cos\nsystem\ntR.", "functools.partial"),
        (b"c__builtin__\n\x1b[2Jeval\n.", r"\x1b"),
        (b"ctorch\nload\n.", "torch.load"),
        (b"cpickle\nloads\n.", "pickle.loads"),
        (b"cnumpy.f2py\ncrackfortran\n.", "numpy.f2py"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_names_are_refused_and_nothing_runs(
    data: bytes, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert name in refusal(data)
    assert not list(tmp_path.iterdir())


def test_permitted_names_do_not_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hostile arguments to permitted names, and changes of the names themselves, which a later file must not see."""
    monkeypatch.chdir(tmp_path)
    payload = pickle.dumps(Calls(os.system, "touch marker"), 2)
    hostile = [
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\ntRNtR.",  # a scalar of any object
        b"cnumpy\ndtype\n(S'f8,O'\ntR.",
        b"cnumpy\ndtype\n((lp0\ntR.",
        b"cnumpy\nndarray\n((I1000000000\nttR.",  # a class that would claim memory
        b"cnumpy\nndarray\n.",
        b"ccollections\nOrderedDict\n.",
        b"ccopy_reg\n_reconstructor\n(ccopy_reg\n_reconstructor\nc__builtin__\nobject\nNtR.",
        b"ccopy_reg\n_reconstructor\n(c__builtin__\nobject\nc__builtin__\nobject\nNtR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(S'__setstate__'\nI1\nsb.",  # a state for the name itself
        b"cnumpy.core.multiarray\n_reconstruct\nN(S'__new__'\nI1\nd\x86b.",
        b"ccollections\nOrderedDict\n(tR(S'__class__'\nccollections\nOrderedDict\nd\x86b.",
        b"c_codecs\nencode\n(Vabc\nVrot13\ntR.",
        b"cchumpy.ch\nCh\n(tR(dS'x'\ncchumpy.ch\nCh\nsb.",
        b"ctorch.storage\n_load_from_bytes\n(" + b"B" + struct.pack("<I", len(payload)) + payload + b"tR.",
        b"\x82\x01.",  # the extension registry
        b"Pname\n.",  # a persistent name
        b"\x80\x05\x97.",  # a buffer from outside
    ]
    for data in hostile:
        refusal(data)
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(load_pickle(pickle.dumps(np.eye(2)), "f"), np.eye(2))


def array_pickle(shape: tuple, dtype: str, content: bytes) -> bytes:
    reconstruct = np.zeros(1).__reduce__()[0]

    class Array:
        def __reduce__(self) -> tuple:
            return reconstruct, (np.ndarray, (0,), b"b"), (1, shape, np.dtype(dtype), False, content)

    return pickle.dumps(Array(), 2)


def test_shapes_that_the_file_does_not_fill_are_refused() -> None:
    load_pickle(array_pickle((2, 1), "<f8", bytes(16)), "file")
    for shape in ((2**40,), (2**62, 4), (-2, -1), (3,), ((1,), 2), "ab", (1.0, 2)):
        assert "shape" in refusal(array_pickle(shape, "<f8", bytes(16))) or shape == "ab"
    assert "shape" in refusal(array_pickle((2**50,), "S0", b""))
    assert "type" in refusal(array_pickle((1,), "M8[s]", bytes(8)))


def test_sparse_matrices_with_impossible_parts_are_refused() -> None:
    good = sparse.csc_matrix(np.eye(3))
    for name, value in (
        ("indices", np.array([0, 1, 7], np.int32)),
        ("indices", np.array([0, 1], np.int32)),
        ("indptr", np.array([0, 2, 1, 3], np.int32)),
        ("indptr", np.array([0, 1, 2], np.int32)),
        ("data", np.array(["a", "b", "c"])),
        ("_shape", (3, 2**40)),
    ):
        bad = good.copy()
        setattr(bad, name, value)
        assert "sparse" in refusal(pickle.dumps(bad, 2))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a pickle",
        b"." * 100,
        b"\x80\x02(" + b"(" * 5000 + b"t" * 5000 + b".",
        b"]" * 20_000 + b"a" * 19_999 + b".",  # lists in lists
        b"(lp0\ng0\na.",  # a list in itself
        b"N" + b"r" + struct.pack("<I", 2**32 - 1) + b".",  # a memo of 32 GB
        b"\x8d" + struct.pack("<Q", 2**60) + b"abc.",  # a text of an exabyte
        b"I" + b"9" * 100_000 + b"\n.",
        b"(dc__builtin__\nset\n(tRI1\ns.",  # a key that is no text
    ],
    ids=range(10),
)
def test_garbage_is_refused(data: bytes) -> None:
    refusal(data)


def test_every_truncation_and_flipped_bytes_are_handled() -> None:
    value = {"a": np.arange(5.0), "m": sparse.csc_matrix(np.eye(3)), "c": Ch(np.eye(2)), "s": "text"}
    data = python2_pickle(value)
    for length in range(0, len(data) - 1, 3):
        refusal(data[:length])
    rng = np.random.default_rng(0)
    for _ in range(1500):
        flipped = bytearray(data)
        for place in rng.integers(0, len(data), 2):
            flipped[place] = rng.integers(256)
        try:
            load_pickle(bytes(flipped), "model.pkl")
        except InputError as error:
            assert "\n" not in str(error)


def test_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pkl: no such file"):
        read_pickle(tmp_path / "none.pkl")
    with pytest.raises(InputError, match="is a folder"):
        read_pickle(tmp_path)
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(InputError, match=r"list\.pkl: holds a list"):
        read_content(tmp_path / "list.pkl")
    (tmp_path / "model.txt").write_text("x")
    with pytest.raises(InputError, match=r"model\.txt.*needed"):
        read_content(tmp_path / "model.txt")


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def test_numpy_files() -> None:
    for array in ARRAYS:
        found = load_npy(npy(array), "a.npy")
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype.newbyteorder("=")
    held = {"lmk_face_idx": np.arange(3), "t": torch.ones(2)}
    found = load_npy(npy(np.array(held)), "a.npy")
    np.testing.assert_array_equal(found["lmk_face_idx"], np.arange(3))
    np.testing.assert_array_equal(found["t"], [1, 1])
    ragged = np.empty((2, 1), object)
    ragged[:] = [[[1]], [None]]
    assert load_npy(npy(ragged), "a.npy").tolist() == [[[1]], [None]]


def test_bad_numpy_files_are_refused(tmp_path: Path) -> None:
    good = npy(np.arange(6.0))
    huge = good.replace(b"(6,)", b"(10000000000000,)").replace(b" " * 13 + b"\n", b"\n")
    assert len(huge) == len(good)
    fields = npy(np.zeros(2, [("a", "f8"), ("b", "f8")]))
    hostile = npy(np.array({"a": 1}))
    hostile = hostile[:128] + pickle.dumps(Calls(os.system, "touch marker"))
    for data, reason in ((huge, "shape"), (good[:-8], "shape"), (good[:20], "damaged"), (fields, "type")):
        with pytest.raises(InputError, match=reason) as caught:
            load_npy(data, "a.npy")
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"posix\.system"):
        load_npy(hostile, "a.npy")

    path = tmp_path / "model.npz"
    np.savez(path, numbers=np.arange(3), held=np.array({"k": [1, 2]}))
    archive = NpzFile(path)
    assert set(archive) == {"numbers", "held"} and archive["held"] == {"k": [1, 2]}
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("evil.npy", hostile)
    np.testing.assert_array_equal(NpzFile(path)["numbers"], np.arange(3))
    with pytest.raises(InputError, match=r"model\.npz.*posix\.system"):
        NpzFile(path)["evil"]
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"model\.npz: not an"):
        NpzFile(path)
