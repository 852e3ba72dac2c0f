"""The papers' frozen label splits: reading the authors' files, keeping them, and using them for the right
images only.
"""

import hashlib
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.cli.data import import_labels
from benchmark.errors import UserError
from datasets import labels, published
from tests.conftest import ROOT

SHARED = Path(os.environ.get("BENCH_SHARED_DATA", ROOT.parent / "shared" / "data")) / "label_splits"
real = pytest.mark.skipif(
    not SHARED.is_dir(),
    reason="no published label splits: put them at ../shared/data/label_splits or name the folder above in "
    "BENCH_SHARED_DATA",
)
THEIRS = {"semseg": "semseg", "parts": "human_parts", "saliency": "sal", "normals": "normals", "edge": "edge"}

# As others decoded the authors' files: the start of the MD5 sum, images, labelled images of each task,
# {labels an image: images}.
FACTS = {
    "nyuv2_onelabel.pth": ("nyuv2", "one", "aa12f1e3", 795, {"semseg": 265, "depth": 265, "normals": 265},
    {1: 795}),
    "nyuv2_randomlabels.pth": (
        "nyuv2", "random", "c83e18ad", 795, {"semseg": 392, "depth": 408, "normals": 385}, {1: 405, 2: 390},
    ),
    "cityscapes_onelabel.pth": ("cityscapes", "one", "2a62911c", 2975, {"semseg": 1487, "depth": 1488},
    {1: 2975}),
    "pascal_onelabel.npy": (
        "pascal-context", "one", "d6efccc", 4998,
        {"semseg": 1000, "parts": 999, "saliency": 1000, "normals": 1000, "edge": 999}, {1: 4998},
    ),
    "pascal_randomlabels.npy": (
        "pascal-context", "random", "45746c0a", 4998,
        {"semseg": 2450, "parts": 847, "saliency": 2445, "normals": 2480, "edge": 2557}, {1: 1538, 2: 1529,
        3: 1541, 4: 390},
    ),
}  # fmt: skip


def matrix(images: int, tasks: int, setting: str) -> Tensor:
    """(N, T) 0/1: one label an image in turn, or one and two in turn."""
    rows = torch.zeros(images, tasks)
    for i in range(images):
        rows[i, i % tasks] = 1
        if setting == "random" and i % 2:
            rows[i, (i + 1) % tasks] = 1
    return rows


def write_matrix(path: Path, rows: Tensor, legacy: bool = True) -> Path:
    torch.save({"labels_weights": rows}, path, _use_new_zipfile_serialization=not legacy)
    return path


def names(images: int) -> tuple[str, ...]:
    return tuple(f"2008_{i:06d}" for i in range(images))


def write_lists(
    path: Path, rows: Tensor, order: tuple[str, ...] = ("human_parts", "edge", "semseg", "normals", "sal")
) -> Path:
    """A dict of lists of NumPy strings in an object array, as the authors' .npy files; protocol 3, as
    theirs.
    """
    ids, columns = names(len(rows)), list(THEIRS.values())
    lists = {
        task: [np.str_(ids[i]) for i in range(len(rows)) if rows[i, columns.index(task)]] for task in order
    }
    file = io.BytesIO()
    np.save(file, np.array(None, dtype=object))
    header = file.getvalue()[: 10 + int.from_bytes(file.getvalue()[8:10], "little")]
    path.write_bytes(header + pickle.dumps(np.array(lists, dtype=object), 3))
    return path


def load(
    data: Path, dataset: str, setting: str, images: int, tasks: tuple[str, ...], **changes: object
) -> Tensor:
    values = {"names": names(images), "ids": torch.arange(images), "total": images} | changes
    return published.load(data, dataset, setting, values["names"], values["ids"], values["total"], tasks)


@real
@pytest.mark.parametrize("name", FACTS)
def test_the_papers_files(name: str, tmp_path: Path) -> None:
    dataset, setting, md5, images, counts, per_image = FACTS[name]
    assert hashlib.md5((SHARED / name).read_bytes()).hexdigest().startswith(md5)
    copy = tmp_path / "under-another-name"
    copy.write_bytes((SHARED / name).read_bytes())
    split = published.import_file(copy, tmp_path)
    assert (split.dataset, split.setting, len(split.rows), split.counts) == (dataset, setting, images, counts)
    assert split.as_in_papers and split.sha256 == hashlib.sha256(copy.read_bytes()).hexdigest()
    found = torch.bincount(split.rows.sum(1)).tolist()
    assert {k: n for k, n in enumerate(found) if n} == per_image

    ids = torch.arange(images)
    sample_names = split.ids or names(images)
    tasks = split.tasks[::-1]
    mask = published.load(tmp_path, dataset, setting, sample_names, ids, images, tasks)
    assert dict(zip(tasks, mask.sum(0).tolist(), strict=True)) == counts
    # As `pickle` reads the trusted copy.
    if name.endswith(".npy"):
        lists = np.load(SHARED / name, allow_pickle=True).item()
        for column, task in enumerate(tasks):
            assert {sample_names[i] for i in mask[:, column].nonzero().flatten().tolist()} == {
                *map(str, lists[THEIRS[task]])
            }
    else:
        weights = torch.load(SHARED / name, weights_only=True)["labels_weights"]
        assert torch.equal(mask.float(), weights.flip(1))


@real
def test_our_random_setting_has_the_statistics_of_the_papers() -> None:
    """The setting draws k ~ U{1..K-1} labels, K those that an image has: parts exist in people's images
    alone.
    """
    split = published.parse_file(SHARED / "pascal_randomlabels.npy")
    available = torch.ones(4998, 5, dtype=torch.bool)
    available[:, 1] = torch.arange(4998) < 1560  # people are in 1560 of the images; 4 labels need them
    drawn = torch.bincount(labels.sample(torch.arange(4998), available, "random", 0).sum(1), minlength=5)
    theirs = torch.bincount(split.rows.sum(1), minlength=5)
    assert ((drawn - theirs).abs() < 5 * theirs.clamp_min(1).double().sqrt()).all()


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize(
    ("dataset", "width", "setting"), [("nyuv2", 3, "one"), ("nyuv2", 3, "random"), ("cityscapes", 2, "one")]
)
def test_a_matrix(dataset: str, width: int, setting: str, legacy: bool, tmp_path: Path) -> None:
    rows = matrix(10, width, setting)
    split = published.parse_file(write_matrix(tmp_path / "x.bin", rows, legacy))
    assert (split.dataset, split.setting, split.ids, split.as_in_papers) == (dataset, setting, None, False)
    assert split.tasks == ("semseg", "depth", "normals")[:width] and torch.equal(split.rows, rows.bool())
    for kind in (torch.int64, torch.float64, torch.bool):
        assert torch.equal(
            published.parse_file(write_matrix(tmp_path / "x", rows.to(kind), legacy)).rows, rows.bool()
        )


@pytest.mark.parametrize("setting", ["one", "random"])
def test_lists_of_ids(setting: str, tmp_path: Path) -> None:
    rows = matrix(25, 5, setting)
    split = published.parse_file(write_lists(tmp_path / "x.npy", rows))
    assert (split.dataset, split.setting, split.ids) == ("pascal-context", setting, names(25))
    assert split.tasks == tuple(THEIRS) and torch.equal(split.rows, rows.bool())
    # The same from NumPy itself, whichever protocol it writes, and from plain strings.
    columns = list(THEIRS.values())
    lists = {
        t: [names(25)[i] for i in rows[:, c].nonzero().flatten().tolist()] for c, t in enumerate(columns)
    }
    np.save(tmp_path / "y.npy", np.array(lists, dtype=object), allow_pickle=True)
    assert torch.equal(published.parse_file(tmp_path / "y.npy").rows, rows.bool())


def test_the_transposed_form(tmp_path: Path) -> None:
    rows = matrix(25, 5, "random")
    torch.save(
        {np.str_(i): row for i, row in zip(names(25), rows.int().tolist(), strict=True)}, tmp_path / "x.pth"
    )
    split = published.parse_file(tmp_path / "x.pth")
    assert (split.dataset, split.setting, split.ids) == ("pascal-context", "random", names(25))
    assert torch.equal(split.rows, rows.bool())


class Attack:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> object:
        return os.system, (f"touch '{self.trace}'",)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "x"
    attack = Attack(trace)
    np.save(tmp_path / "x.npy", np.array({"semseg": [attack]}, dtype=object), allow_pickle=True)
    torch.save({"labels_weights": attack}, tmp_path / "zip.pth")
    torch.save({"labels_weights": attack}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(attack))
    for name in ("x.npy", "zip.pth", "old.pth", "raw.pth"):
        path = tmp_path / name
        with pytest.raises(UserError) as caught:
            published.import_file(path, tmp_path / "data")
        assert str(caught.value).startswith(f"{path} is no label split as the papers' authors publish it: it")
        assert "code and not data" in str(caught.value) or "holds more than tensors" in str(caught.value)
    assert not trace.exists() and not (tmp_path / "data").exists()
    np.load(tmp_path / "x.npy", allow_pickle=True)
    assert trace.exists()  # what NumPy would have done


def tasks_without(**changes: object) -> dict[str, object]:
    return {task: ["2008_000001"] for task in THEIRS.values()} | changes


def archive(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr(name, content)
    return file.getvalue()


def saved(value: object, **options: bool) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def listed(value: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(value, dtype=object), allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it holds more than tensors, or is damaged"),
        (b"hello", "it holds more than tensors, or is damaged"),
        (saved({"labels_weights": torch.ones(9, 3)})[:-40], "it holds more than tensors, or is damaged"),
        (
            saved({"labels_weights": torch.ones(9, 3)}, _use_new_zipfile_serialization=False)[:90],
            "or is damaged",
        ),
        (archive("a/other", b"x"), "it holds more than tensors, or is damaged"),
        (archive("a/data.pkl", b"N" * (published.LARGEST + 1)), "it holds more than tensors, or is damaged"),
        (saved([torch.ones(9, 3)]), "it holds no matrix 'labels_weights'"),
        (saved({"labels_weights": torch.ones(9)}), "it holds no matrix 'labels_weights'"),
        (saved({"labels_weights": torch.ones(9, 3).to_sparse()}), "it holds no matrix 'labels_weights'"),
        (saved({"labels_weights": torch.ones(9, 3, device="meta")}), "it holds no matrix 'labels_weights'"),
        (saved({"labels_weights": torch.ones(9, 3), "more": 1}), "it holds no matrix 'labels_weights'"),
        (saved({"labels_weights": torch.ones(9, 3).half()}), "its matrix holds float16"),
        (saved({"labels_weights": torch.ones(9, 4)}), "its matrix has shape (9, 4)"),
        (saved({"labels_weights": torch.ones(0, 3)}), "its matrix has shape (0, 3)"),
        (
            saved({"labels_weights": torch.ones(1, 3).expand(2**40, 3)}),
            "its matrix has shape (1099511627776, 3)",
        ),
        (saved({"labels_weights": torch.full((9, 3), 0.5)}), "its matrix holds values other than 0 and 1"),
        (
            saved({"labels_weights": torch.full((9, 3), torch.nan)}),
            "its matrix holds values other than 0 and 1",
        ),
        (saved({"labels_weights": torch.tensor([[1.0, 0, 0], [0, 0, 0]])}), "image 1 has no label at all"),
        (saved({"labels_weights": torch.tensor([[1.0, 0], [1, 1]])}), "image 1 has every label"),
        (saved({np.str_("2008_1"): [1, 0, 0, 0]}), "image 2008_1 has no row of 5 numbers"),
        (saved({np.str_("2008_1"): [1, 0, 0, 0, "0"]}), "image 2008_1 has no row of 5 numbers"),
        (
            saved({np.str_("2008_1"): [2, 0, 0, 0, 0]}),
            "the row of image 2008_1 holds values other than 0 and 1",
        ),
        (saved({np.str_("2008_1"): [0, 0, 0, 0, 0]}), "image 2008_1 has no label at all"),
        (saved({np.str_("../x"): [1, 0, 0, 0, 0]}), "'../x' is no id of an image"),
        (saved({np.str_("a"): 1})[:-30], "or is damaged"),
        (saved([np.str_("a")]), "its content is not a dict of images"),
        (listed([1]), "its content is not a dict of the tasks semseg, human_parts, sal, normals, edge"),
        (listed({"semseg": []}), "its content is not a dict of the tasks"),
        (listed(tasks_without(sal="2008_1")), "its images of the task sal are not a list of ids"),
        (listed(tasks_without(sal=[1])), "its images of the task sal are not a list of ids"),
        (listed(tasks_without(sal=["a", "a"])), "it lists an image twice for the task sal"),
        (listed(tasks_without(sal=["a/b"])), "'a/b' is no id of an image"),
        (listed(tasks_without()), "image 2008_000001 has every label"),
        (listed({task: [] for task in THEIRS.values()}), "its content is not a dict of images"),
        (listed(tasks_without())[:-9], "exhausted"),
        (b"\x93NUMPY\x01\x00", "exhausted"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        published.import_file(path, tmp_path / "data")
    text = str(caught.value)
    assert (
        text.startswith(f"{path} is no label split as the papers' authors publish it: ") and message in text
    )
    assert text.endswith("expected a .pth that holds {'labels_weights': (N, 2 or 3) zeros and ones}, or "
                         "PASCAL-Context's .npy of "
                         "{task: [image ids]}.")  # fmt: skip
    assert "\n" not in text and not (tmp_path / "data").exists()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent cannot be read: No such file.*; expected a \.pth"):
        published.parse_file(tmp_path / "absent")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        published.parse_file(tmp_path)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(published.LARGEST + 1)
    with pytest.raises(UserError, match="it has 16 MiB, and such a file has at most 16"):
        published.parse_file(tmp_path / "large")


def test_import_writes_a_file_that_people_can_read(tmp_path: Path) -> None:
    data = tmp_path / "data"
    split = published.import_file(write_matrix(tmp_path / "a.pth", matrix(6, 3, "random")), data)
    path = data / "labels" / "nyuv2-random.json"
    assert path == published.place(data, "nyuv2", "random") and [*path.parent.iterdir()] == [path]
    assert json.loads(path.read_text()) == {
        "dataset": "nyuv2", "setting": "random", "tasks": ["semseg", "depth", "normals"], "images": 6,
        "counts": {"semseg": 3, "depth": 3, "normals": 3}, "as_in_papers": False, "sha256": split.sha256,
        "rows": ["100", "011", "001", "110", "010", "101"],
    }  # fmt: skip
    published.import_file(write_lists(tmp_path / "b.npy", matrix(3, 5, "one")), data)
    content = json.loads((data / "labels" / "pascal-context-one.json").read_text())
    assert content["rows"] == {"2008_000000": "10000", "2008_000001": "01000", "2008_000002": "00100"}


def test_another_split_is_replaced_only_when_asked_to(tmp_path: Path) -> None:
    path = published.place(tmp_path, "nyuv2", "one")
    published.import_file(write_matrix(tmp_path / "a.pth", matrix(9, 3, "one")), tmp_path)
    before = path.read_bytes()
    published.import_file(
        write_matrix(tmp_path / "b.pth", matrix(9, 3, "one"), legacy=False), tmp_path
    )  # the same, other bytes
    assert path.read_bytes() == before
    other = write_matrix(tmp_path / "c.pth", matrix(9, 3, "one").flip(0))
    with pytest.raises(
        UserError, match=r"nyuv2-one\.json holds another split than .*c\.pth; give --replace to put this one"
    ):
        published.import_file(other, tmp_path)
    assert path.read_bytes() == before
    published.import_file(other, tmp_path, replace=True)
    assert json.loads(path.read_text())["rows"][0] == "001"


def test_import_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("in the way")
    with pytest.raises(
        UserError, match=r"cannot write .*nyuv2-one\.json: .*; choose a writable data folder with --data DIR"
    ):
        published.import_file(write_matrix(tmp_path / "a.pth", matrix(9, 3, "one")), tmp_path)


def test_rows_by_number(tmp_path: Path) -> None:
    rows = matrix(12, 3, "random").bool()
    published.import_file(write_matrix(tmp_path / "a.pth", rows.float()), tmp_path)
    found = load(tmp_path, "nyuv2", "random", 12, ("normals", "semseg"))
    assert torch.equal(found, rows[:, [2, 0]])
    some = torch.tensor([7, 0, 3])
    found = load(tmp_path, "nyuv2", "random", 12, ("depth",), ids=some, names=("7", "0", "3"))
    assert torch.equal(found, rows[some][:, [1]])


def test_rows_by_name(tmp_path: Path) -> None:
    rows = matrix(12, 5, "one").bool()
    published.import_file(write_lists(tmp_path / "a.npy", rows.float()), tmp_path)
    order = (*reversed(names(12)),)
    found = load(tmp_path, "pascal-context", "one", 12, ("edge", "parts"), names=order)
    assert torch.equal(found, rows.flip(0)[:, [4, 1]])
    found = load(tmp_path, "pascal-context", "one", 2, ("semseg",), names=order[:2], total=12)
    assert torch.equal(found, rows.flip(0)[:2, [0]])


def test_through_the_setting(tmp_path: Path) -> None:
    rows = matrix(12, 3, "one").bool()
    published.import_file(write_matrix(tmp_path / "a.pth", rows.float()), tmp_path)
    available = torch.ones(12, 2, dtype=torch.bool)
    available[5] = False
    mask = labels.sample(
        torch.arange(12),
        available,
        "published:one",
        3,
        lambda which: load(tmp_path, "nyuv2", which, 12, ("depth", "semseg")),
    )
    expected = rows[:, [1, 0]].clone()
    expected[5] = False
    assert torch.equal(mask, expected)


def refused(tmp_path: Path, *arguments: object, **changes: object) -> str:
    with pytest.raises(UserError) as caught:
        load(tmp_path, *arguments, **changes)  # type: ignore[arg-type]
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_split_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    text = refused(tmp_path, "nyuv2", "one", 12, ("semseg",))
    assert text == (
        "label setting 'published:one' of nyuv2 is not imported; get its file from the MTPSL repository "
        "(VICO-UoE/MTPSL on "
        "GitHub, folder data_split) and run `bench labels import PATH`."
    )
    assert (
        "no paper publishes a label split 'published:random' of cityscapes; use 'published:one'."
        in refused(tmp_path, "cityscapes", "random", 12, ("semseg",))
    )
    assert "of rooms; use a setting that draws labels, such as 'one'." in refused(
        tmp_path, "rooms", "one", 12, ("semseg",)
    )
    published.import_file(write_matrix(tmp_path / "a.pth", matrix(12, 3, "one")), tmp_path)
    assert (
        "'published:one' of nyuv2 covers semseg, depth, normals and not edge; leave that task out"
        in refused(tmp_path, "nyuv2", "one", 12, ("semseg", "edge"))
    )
    assert (
        "nyuv2-one.json is a split for other images: it has 12 rows and the train split of nyuv2 24 images"
        in refused(tmp_path, "nyuv2", "one", 24, ("semseg",))
    )
    published.import_file(write_lists(tmp_path / "b.npy", matrix(12, 5, "one")), tmp_path)
    text = refused(tmp_path, "pascal-context", "one", 14, ("semseg",))
    assert "pascal-context-one.json is a split for other images: it lacks image 2008_000012 (2 such)" in text
    text = refused(tmp_path, "pascal-context", "one", 11, ("semseg",))
    assert "the train split of pascal-context lacks its image 2008_000011 (1 such)" in text
    assert "it lacks image x" in refused(
        tmp_path, "pascal-context", "one", 1, ("semseg",), names=("x",), total=12
    )


DAMAGE: dict[str, object] = {
    "rows": ["100", "01"], "counts": {"semseg": 1}, "tasks": ["depth", "semseg", "normals"],
    "setting": "random", "dataset": "x",
}  # fmt: skip


@pytest.mark.parametrize("key", [*DAMAGE, "missing", "a dict", "truncated", "no text"])
def test_a_damaged_import_is_named(key: str, tmp_path: Path) -> None:
    published.import_file(write_matrix(tmp_path / "a.pth", matrix(9, 3, "one")), tmp_path)
    path = published.place(tmp_path, "nyuv2", "one")
    content = json.loads(path.read_text())
    if key == "truncated":
        path.write_text(path.read_text()[:50])
    elif key == "no text":
        path.write_bytes(b"\xff\xfe")
    else:
        if key == "missing":
            del content["sha256"]
        elif key == "a dict":
            content["rows"] = {str(i): row for i, row in enumerate(content["rows"])}
        else:
            content[key] = DAMAGE[key]
        path.write_text(json.dumps(content))
    text = refused(tmp_path, "nyuv2", "one", 9, ("semseg",))
    assert text.startswith(f"{path} ") and "run `bench labels import PATH --replace` to write it anew" in text
    published.import_file(tmp_path / "a.pth", tmp_path, replace=True)
    assert load(tmp_path, "nyuv2", "one", 9, ("semseg",)).sum() == 3


def test_the_command_prints_what_it_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [
        write_matrix(tmp_path / "a.pth", matrix(12, 3, "random")),
        write_lists(tmp_path / "b.npy", matrix(10, 5, "one")),
    ]
    assert import_labels(paths, data=tmp_path / "data") == 0
    printed = capsys.readouterr().out
    assert (
        "published:random of nyuv2: 12 train images" in printed
        and "published:one of pascal-context: 10 train" in printed
    )
    assert (
        "images by number of labels: 1: 6, 2: 6" in printed and "images by number of labels: 1: 10" in printed
    )
    assert printed.count("NOT byte for byte a file that the papers use") == 2
    cells = [[c.strip() for c in line.split("│")[1:-1]] for line in printed.splitlines() if "│" in line]
    assert cells[0] == ["semseg", "6", "50.0%"] and cells[-1] == ["edge", "2", "20.0%"]
    other = write_matrix(tmp_path / "c.pth", matrix(12, 3, "random").flip(0))
    with pytest.raises(UserError, match="holds another split"):
        import_labels([other], data=tmp_path / "data")
    assert import_labels([other], True, data=tmp_path / "data") == 0
