"""Files of others, which anyone may have written: arrays, lists, variants, MATLAB's files, label splits."""

import io
import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.errors import UserError
from datasets import published
from datasets.layouts.base import source_variant
from datasets.layouts.files import load_mat, load_npy, read_list
from tests.datasets.folders import refused
from tests.datasets.forms import npy
from tests.datasets.test_published import saved as tensors

ONES = npy(np.ones((2, 3), np.float32))


def header(shape: str) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(9_989) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


NPY = {
    "a claim": (header("(1000000000000, 100000000000)"), "x.npy has more than 100 million pixels"),
    "a negative claim": (header("(-2, -3)") + bytes(24), "has more than 100 million"),
    "a claim of depth": (header("(1, 1, 1000000000)"), "is damaged or not a plain .npy file .it has"),
    "deep": (header("(" * 4_000 + "2" + ")" * 4_000), "is damaged or not a plain .npy file"),
    "many digits": (header("(" + "9" * 5_000 + ",)"), "is damaged or not a plain .npy file"),
    "more after its end": (ONES + b"\r\n", "it has 154 bytes and its header says 152"),
    "pickle": (npy(np.array([{}])), "not hold one array of numbers but object; expected"),
    "open bracket": (ONES.replace(b"(2, 3)", b"(2, 3 ", 1), "damaged or not a plain .npy file"),
    "words": (npy(np.array(["a"])), "does not hold one array of numbers"),
    "NaN": (npy(np.full((2, 3), np.nan)), r"NaN or infinite values; expected maps of shape \(2, any\)"),
    "turned": (npy(np.ones((3, 2))), r"has shape \(3, 2\); expected maps of shape \(2, any\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", NPY)
def test_arrays_that_are_none(case: str, tmp_path: Path) -> None:
    path, (content, message) = tmp_path / "x.npy", NPY[case]
    path.write_bytes(content)
    refused(path, lambda: load_npy(path, "maps", (2, -1)), message)
    path.write_bytes(ONES)
    assert load_npy(path, "maps", (2, -1)).dtype == np.float32


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing; expected ids, one a line"), (b"\n\n", "is empty; expected ids"),
        (b"7\n3\n7\n", "names '7' twice"), (b"../../x\n", r"names '\.\./\.\./x', which is not a plain name"),
        (b"a\\b\n", "which is not a plain name"), (b"\xff\xfe7", "could not be read"),
    ],
)  # fmt: skip
def test_lists_that_are_none(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    if content is not None:
        path.write_bytes(content)
    refused(path, lambda: read_list(path, "ids"), message)


VARIANTS = (
    ('{"dataset": "nyuv2", "variant": "a-1.b"}', ""), ('\ufeff{"dataset": "nyuv2", "variant": "a-1.b"}', ""),
    ('{"dataset": "nyuv2", "variant": "a", "variant": "b"}', "could not be read .it says something twice"),
    *((f'{{"dataset": "nyuv2", "variant": {v}}}', "does not name a variant of nyuv2; expected JSON such as")
      for v in ("NaN", '"../x"', '"A"', f'"{"x" * 65}"', '["a"]')),
    ("[" * 100_000, "nested more than 50 deep"), ("", "could not be read"), ("[]", "does not name"),
    ('{"dataset": "cityscapes", "variant": "a"}', "does not name a variant of nyuv2"),
)  # fmt: skip


@pytest.mark.parametrize(("content", "message"), VARIANTS, ids=range(len(VARIANTS)))
def test_variants_are_named_once_by_plain_names(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "SOURCE.json").write_text(content)
    if message:
        refused(tmp_path, lambda: source_variant(tmp_path, "nyuv2"), message)
    else:
        assert source_variant(tmp_path, "nyuv2") == "a-1.b"


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content.ljust(-(-len(content) // 8) * 8, b"\0")


def array(kind: int, sides: tuple[int, ...], content: bytes, name: bytes = b"") -> bytes:
    parts = (element(6, struct.pack("<II", kind, 0)), element(5, struct.pack(f"<{len(sides)}i", *sides)))
    return element(14, b"".join((*parts, element(1, name), content)))


def nested(depth: int) -> bytes:
    inner = array(6, (1, 1), element(9, bytes(8)))
    for _ in range(depth):
        inner = array(1, (1, 1), inner)
    return inner


UINT8 = element(2, bytes(4))
STREAM = zlib.compress(array(9, (2, 2), UINT8, b"LabelMap"), 0)
WHOLE = struct.pack("<II", 15, len(STREAM)) + STREAM
MAT_5: list[tuple[bytes, str]] = [
    (array(9, (2, 2), UINT8, b"LabelMap"), ""),
    (array(9, (64_000, 48_000), UINT8, b"LabelMap"), "claims 64000x48000 elements"),
    (array(1, (64_000, 48_000), nested(0), b"LabelMap"), "claims 64000x48000 elements"),
    (array(1, (1, 1), nested(60), b"LabelMap"), "nested more than 50 deep"),
    (array(99, (2, 2), UINT8, b"LabelMap"), "it is damaged"),
    (array(9, (2, 2), element(99, bytes(4)), b"LabelMap"), "it is damaged"),
    (array(9, (2, 2), struct.pack("<II", 2, 400) + bytes(8), b"LabelMap"), "it is damaged"),
    (element(15, zlib.compress(bytes((1 << 20) + 8))), "holds more than 1 MiB"),
    (WHOLE, ""),  # and a class of array that scipy would look up beyond the end of a table
    (WHOLE.replace(struct.pack("<IIB", 6, 8, 9), struct.pack("<IIB", 6, 8, 200)), "incorrect data check"),
    (array(9, (2, 2), UINT8, b"other"), "has no variable 'LabelMap'; expected a map"),
    (element(15, zlib.compress(array(9, (2, 2), UINT8, b"LabelMap"))[:-3]), "is cut off|incomplete"),
]


@pytest.mark.parametrize(("content", "message"), MAT_5, ids=range(len(MAT_5)))
def test_a_mat_that_claims_or_nests_is_refused_before_it_is_parsed(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.layouts.files.LARGEST_MAT", 1 << 20)
    path = tmp_path / "x.mat"
    path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + content)
    if message:
        refused(path, lambda: load_mat(path, "LabelMap", "a map"), message)
    else:
        assert load_mat(path, "LabelMap", "a map").shape == (2, 2)


class Attack:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> object:
        return os.system, (f"touch '{self.trace}'",)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    attack = Attack(trace)
    np.save(tmp_path / "x.npy", np.array({"semseg": [attack]}, dtype=object), allow_pickle=True)
    torch.save({"labels_weights": attack}, tmp_path / "zip.pth")
    torch.save({"labels_weights": attack}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(attack))
    for name in ("x.npy", "zip.pth", "old.pth", "raw.pth"):
        message = f"{name} is no label split as .*(could run code, and not one|it holds more than tensors)"
        with pytest.raises(UserError, match=message):
            published.import_file(tmp_path / name, tmp_path / "data")
    assert not trace.exists() and not (tmp_path / "data").exists()
    np.load(tmp_path / "x.npy", allow_pickle=True)
    assert trace.exists()  # what NumPy would have done


def archive(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr(name, content)
    return file.getvalue()


def weights(*rows: list[float]) -> bytes:
    return tensors({"labels_weights": torch.tensor(rows)})


THEIRS = ("semseg", "human_parts", "sal", "normals", "edge")
NINE, DAMAGED = torch.ones(9, 3), "it holds more than tensors, or is damaged"
OTHERS: list[tuple[bytes, str]] = [
    (b"", DAMAGED), (b"hello", DAMAGED), (tensors({"labels_weights": NINE})[:-40], DAMAGED),
    (tensors({"labels_weights": NINE}, _use_new_zipfile_serialization=False)[:90], "or is damaged"),
    (archive("a/data.pkl", b"N" * (published.LARGEST + 1)), DAMAGED),
    *((tensors(value), "it holds no matrix 'labels_weights'") for value in (
        [NINE], {"labels_weights": NINE[0]}, {"labels_weights": NINE.to_sparse()},
        {"labels_weights": NINE.to("meta")}, {"labels_weights": NINE, "more": 1},
    )),
    (tensors({"labels_weights": NINE[:1].expand(published.MOST + 1, 3)}), "its matrix has shape (100001, 3)"),
    (tensors({"labels_weights": NINE.half()}), "its matrix holds float16"),
    (tensors({"labels_weights": torch.ones(9, 4)}), "its matrix has shape (9, 4)"),
    (tensors({"labels_weights": torch.ones(0, 3)}), "its matrix has shape (0, 3)"),
    (tensors({"labels_weights": NINE[:1].expand(2**40, 3)}), "its matrix has shape (1099511627776, 3)"),
    (weights([0.5] * 3), "its matrix holds values other than 0 and 1"),
    (weights([torch.nan] * 3), "its matrix holds values other than 0 and 1"),
    (weights([1.0, 0, 0], [0, 0, 0]), "image 1 has no label at all"),
    (weights([1.0, 0], [1, 1]), "image 1 has every label"),
    *((content, "it is a pickle, which could run code, and not one that") for content in (
        npy([1], object), npy({task: ["a"] for task in THEIRS}, object),
        b"\x93NUMPY\x01\x00",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), OTHERS, ids=range(len(OTHERS)))
def test_other_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        published.import_file(path, tmp_path / "data")
    text = str(caught.value)
    assert text.startswith(f"{path} is no label split") and message in text and "\n" not in text
    assert not (tmp_path / "data").exists()
