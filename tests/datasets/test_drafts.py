"""What `bench data draft` writes for a folder as people have it."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.layouts.toml_folder import TomlFolder
from tests.conftest import Bench
from tests.datasets.folder_example import save

from tests.datasets.test_any_folder import H, W, IMAGE, CLASSES, MILLIMETRES, COLOURS  # isort: skip
from tests.datasets.test_any_folder import NAMES, GREY, LAYOUTS, folder, every  # isort: skip


def drafted(bench: Bench, root: Path) -> str:
    """What `bench data draft` writes for a folder without a dataset.toml."""
    (root / "dataset.toml").unlink(missing_ok=True)
    code, out, err = bench("data", "draft", root)
    assert code == 0 and f"wrote {root / 'dataset.toml'}; look at its guesses" in out, out + err
    return (root / "dataset.toml").read_text()


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "sub-folders"])
def test_a_draft_reads_a_folder_as_it_lies(bench: Bench, layout: str, tmp_path: Path) -> None:
    images, tasks, files, name = LAYOUTS[layout]
    folder(tmp_path, tasks, files, images)
    text = drafted(bench, tmp_path)
    assert "16 bits, 3 numbers, 1000 to 2000, median 1500: 1.5 m if a step is a millimetre" in text
    source = TomlFolder(tmp_path)
    assert [len(each) for each in every(source)] == [len(name.format(each)) for each in NAMES]
    told = "left out: 10 files" in text  # {name}/ids.png, which no draft thinks of
    assert {*source.tasks} == {"depth", *(["semseg"] if "semseg" in tasks and not told else [])}


def test_a_draft_can_be_prepared_and_checked(bench: Bench, tmp_path: Path) -> None:
    root, data = tmp_path / "My rooms", ("--data", tmp_path / "data", "--results", tmp_path)
    vectors = np.zeros((H, W, 3), np.float32)
    vectors[..., 2] = -1
    normals = np.round((vectors + 1) / 2 * 255).astype(np.uint8)
    edges = ((CLASSES == 1) * 255).astype(np.uint8)
    files = {
        "images/{}.jpg": IMAGE, "depth/{}.png": MILLIMETRES, "normals/{}.png": normals, "ids/{}.png": GREY,
        "colours/{}.png": COLOURS[CLASSES], "edges/{}.png": edges, "what/{}.png": edges,
        "preview/{}.jpg": IMAGE,
    }  # fmt: skip
    folder(root, "", files)
    save(root / "images" / "99.jpg", IMAGE + np.uint8(9))  # without any label
    save(root / "other\n[tasks" / "zz.png", GREY)
    text = drafted(bench, root)
    for line in (
        'name = "my-rooms"', '# 11 photographs, as which 70 other files are named\nimages = "images"',
        "splits = { test_share = 0.2, split_seed = 0 }", "size = { height = 32, width = 40 }",
        '[tasks.depth]\nkind = "depth"\nfolder = "depth"\nunit = 0.001\n# where a step is no millimetre: uni',
        'classes = ["class_0", "class_1", "class_2"]\npalette = ["#000000", "#008040", "#800000"]\n#',
        '# [tasks.what]\n# folder = "what"\n# kind = "classes"\n# kind = "depth"\n',
        "# left out: 1 files that are named as no photograph, such as 'other\\n[tasks/zz.png'\n",
    ):  # fmt: skip
        assert line in text, f"{line}\n\n{text}"
    kept = ("--json", *data)
    code, out, err = bench("data", "draft", root)
    assert code == 2 and "is there already; remove or rename it" in err and not out
    assert (root / "dataset.toml").read_text() == text
    code, out, err = bench("data", "prepare", "own-data", root, *kept)
    assert code == 0 and json.loads(out)["counts"]["train"]["images"] == 9, out + err
    code, out, err = bench("data", "check", "own-data-my-rooms", *kept)
    labels = json.loads(out)["splits"][0]["labels"]
    assert code == 0 and [*labels] == ["semseg", "depth", "edge", "ids", "normals"], out + err
    assert labels["depth"]["low"] == 1 and labels["depth"]["high"] == 2
    (root / "dataset.toml").unlink()
    notes = json.loads(bench("data", "draft", root, "--json")[1])["notes"]
    assert notes[0] == f"what what/{{name}} holds cannot be told: choose in {root / 'dataset.toml'}."


FLOATS, RISING = MILLIMETRES / np.float32(1000), np.arange(H * W).reshape(H, W)
UNTOLD = "\n# What they are cannot be told: choose"
MAPS: dict[str, tuple[Any, str]] = {  # maps called x, and what is said of them
    "metres": (FLOATS, "; fractions, 3 numbers, 1 to 2, median 1.5, read as metres\n[tasks.depth]"),
    "shares": (FLOATS / 4, "; fractions, 3 numbers, 0.25 to 0.5, median 0.375" + UNTOLD),
    "vectors": (np.stack([0 * FLOATS, 0 * FLOATS - 0.6, 0 * FLOATS + 0.8], -1), "; vectors of length 1"),
    "depth of 8 bits": (RISING.astype(np.uint8), "; 8 bits, 256 numbers, 0 to 255, median 128" + UNTOLD),
    "0 and 1": (GREY % 2, '# threshold = 0.5\n# classes = ["no", "yes"]\n'),
    "void": (np.where(GREY == 2, 255, GREY).astype(np.uint8), 'classes = ["class_0", "class_1"]\n# where'),
    "far": ((RISING * 40 + 9000).astype(np.uint16), "; 16 bits, over 510 numbers, 9000 to 60160, median 34580"
            + UNTOLD),
    "nothing measured": (np.where(GREY == 2, 65535, RISING).astype(np.uint16),
                         "# where a number or nan says that nothing was measured: ignore = 65535, or nan\n"),
    "a photograph": (IMAGE, "photographs, as JPEG and so many colours are no label maps: left out\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", MAPS)
def test_a_draft_guesses_by_what_maps_hold(bench: Bench, case: str, tmp_path: Path) -> None:
    values, said = MAPS[case]
    for i, name in enumerate(NAMES):
        save(tmp_path / "images" / f"{name}.jpg", IMAGE // (i + 1))
        whole = values.dtype in (np.uint8, np.uint16)
        save(tmp_path / "x" / f"{name}{'.png' if whole else '.npy'}", values)
    assert said in drafted(bench, tmp_path), drafted(bench, tmp_path)


def test_a_draft_keeps_lists_and_says_what_is_still_to_do(bench: Bench, tmp_path: Path) -> None:
    edges = ((CLASSES == 1) * 255).astype(np.uint8)
    folder(tmp_path, "", {"{}.png": IMAGE, "{}_mask.png": edges, "{}_depth.png": MILLIMETRES})
    for split, names in (("train", NAMES[:6]), ("val", NAMES[6:])):
        (tmp_path / f"{split}.txt").write_text("\n".join(names))
    text = drafted(bench, tmp_path)
    assert '# both lists name images\nsplits = { train = "train.txt", test = "val.txt" }' in text
    (tmp_path / "train.txt").unlink()
    (tmp_path / "dataset.toml").unlink()
    code, out, _ = bench("data", "draft", tmp_path, "--json")
    notes = json.loads(out)["notes"]
    assert code == 0 and notes[0].startswith("what {name}_mask.png holds cannot be told: choose in ")
    assert re.match("10 more files count as images, such as .*choose their task first", notes[1])


def test_a_folder_that_no_draft_can_be_written_for_is_one_sentence(bench: Bench, tmp_path: Path) -> None:
    root = tmp_path / "x"
    cases: list[tuple[dict[str, np.ndarray], str]] = [
        ({}, "x holds no photographs (.jpg, .png or .webp); put the images there"),
        ({"a/{}.png": GREY}, "x holds no photographs"),
        ({"b/p{}.jpg": IMAGE}, "x holds 10 images, with 0 kinds of label maps; maps (.png or .npy) are"),
    ]
    root.mkdir()
    for files, message in cases:
        for name in NAMES:
            for path, values in files.items():
                save(root / path.format(name), values)
        code, out, err = bench("data", "draft", root)
        assert code == 2 and message in err and err.count("\n") == 1 and not out, out + err
    assert "none is no folder; name the one that holds your im" in bench("data", "draft", root / "none")[2]
    assert not list(root.glob("*.toml")) and not list(root.glob(".*"))
