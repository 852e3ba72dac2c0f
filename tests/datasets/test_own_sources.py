"""Several sources in one dataset.toml, and classes that a map brings to one head."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import benchmark
from benchmark.contract import methods as contract
from benchmark.errors import UserError
from benchmark.execute.data import Data
from benchmark.spec import plan, registry
from tests.commands import records
from tests.conftest import Bench
from tests.datasets.folder_example import HEIGHT, WIDTH, arrays, save

OWN = ("carpet", "thing", "wall", "lamp")  # of the streets; floor, wall and thing of the kitchens
NUMBERS = np.array([0, 2, 1])  # of floor, wall and thing among them
MAP = '[sources.tasks.semseg.map]\ncarpet = "floor"\nwall = "wall"\nthing = "thing"\nlamp = ""\n'
SOURCE = """[[sources]]
name = "{name}"
images = "{name}/{images}"
splits = {{ train = "{name}/train.txt", test = "{name}/test.txt" }}
[sources.tasks.semseg]
kind = "classes"
folder = "{name}/semseg"
classes = {classes}
"""
FIRST = SOURCE.format(name="kitchens", images="images", classes='["floor", "wall", "thing"]')
SECOND = (
    SOURCE.format(name="streets", images="photos", classes=json.dumps(OWN))
    + f"""ignore = 255
{MAP}[sources.tasks.depth]
kind = "depth"
folder = "streets/depth"
unit = 0.01
"""
)
TOML = f'name = "home"\nsize = {{ height = {HEIGHT}, width = {WIDTH} }}\n{FIRST}{SECOND}'
KITCHENS, STREETS = "own-data-home-kitchens", "own-data-home-streets"
SIZE = (HEIGHT, WIDTH)
SET = [part for one in ("encoder=small", "weights=none", "width=8", "decoder_blocks=1", "epochs=2", "batch=4",
       "evaluations=0", "seeds=1", 'sampling="equal"') for part in ("--set", one)]  # fmt: skip


def streets(number: int) -> np.ndarray:
    """Classes of the streets' own list, with a lamp in a corner."""
    found = arrays(number)["semseg"]
    found = np.where(found == 255, 255, NUMBERS[np.minimum(found, 2)]).astype(np.uint8)
    found[:8, :8] = OWN.index("lamp")
    return found


def write(folder: Path, toml: str = TOML) -> Path:
    for source, images, first in (("kitchens", "images", 0), ("streets", "photos", 20)):
        for n in range(first, first + 8):
            of, name = arrays(n), f"{n:03d}.png"
            save(folder / source / images / name, of["image"])
            save(folder / source / "semseg" / name, streets(n) if source == "streets" else of["semseg"])
            save(folder / source / "depth" / name, (of["depth"] * 100).round().astype(np.uint16))
        for split, numbers in (("train", range(first, first + 6)), ("test", range(first + 6, first + 8))):
            (folder / source / f"{split}.txt").write_text("\n".join(f"{n:03d}" for n in numbers))
    (folder / "dataset.toml").write_text(toml)
    return folder


def test_from_one_description_of_two_sources_to_a_board(bench: Bench, tmp_path: Path) -> None:
    folder, data, results = write(tmp_path / "home"), tmp_path / "data", tmp_path / "runs"
    code, out, err = bench("data", "prepare", "own-data", folder, "--data", data)
    assert code == 0 and all(f"{name} at 40x56: packed" in out for name in (KITCHENS, STREETS)), out + err
    assert "`--set dataset=own-data-home` uses it" in out.replace("\n", " ")
    code, out, _ = bench("data", "prepare", "own-data-home", folder, "--data", data, "--json")
    made = json.loads(out)
    assert made["variant"] == "own-data-home"
    assert [source["variant"] for source in made["sources"]] == [KITCHENS, STREETS]
    assert made["sources"][1]["counts"]["train"] == {"images": 6, "labels": {"semseg": 6, "depth": 6}}
    for name in (KITCHENS, STREETS):
        assert bench("data", "check", name, "--data", data, "--results", results)[0] == 0
    shown = json.loads(bench("labels", "show", "own-data-home", "--data", data, "--json")[1])
    assert shown["setting"] == "given" and shown["labelled"] == {"semseg": 12, "depth": 6}
    run = ("run", "own-data", "multi_task", "single_task", *SET, "--results", results)
    code, out, err = bench(*run, "--data", data)
    assert code == 0, out + err
    found = list(records(results).values())
    assert len(found) == 3 and {r["spec"]["variant"] for r in found} == {f"{KITCHENS}+{STREETS}"}
    whole = next(record for record in found if not record["one_task"])
    assert list(whole["by_source"]["semseg"]) == [KITCHENS, STREETS]
    assert whole["by_source"]["depth"] == {STREETS: whole["metrics"]["depth"]}
    table = benchmark.load_records(results)
    row = table[(table.task == "depth") & (table.metric == "absErr") & (table.method == "multi_task")].iloc[0]
    assert row.by_source == {STREETS: row.value}
    assert whole["tasks"]["semseg"]["classes"] == ["floor", "wall", "thing"]
    # The name, the joined names, another folder and the folder itself mean the same runs.
    moved = tmp_path / "elsewhere" / "own-data"
    shutil.copytree(folder, moved)
    for name, place in (("own-data-home", data), (f"{KITCHENS}+{STREETS}", data), ("own-data", moved.parent)):
        code, out, err = bench(*run, "--set", f"dataset={name}", "--data", place)
        assert code == 0 and "nothing to do: all 3 runs" in out, out + err


def test_a_map_brings_two_lists_of_classes_to_one_head(tmp_path: Path) -> None:
    folder = write(tmp_path / "own-data")
    data = registry.open_dataset("own-data-home", tmp_path)
    assert {n: t.channels for n, t in data.tasks.items()} == {"semseg": 3, "depth": 1}
    train = data.split("train", SIZE)
    assert train.source is not None and train.sources == (KITCHENS, STREETS)
    for i, name in enumerate(train.names):
        number = int(name[-3:])
        wanted = arrays(number)["semseg"].copy()
        if number >= 20:
            wanted[:8, :8] = 255  # what "" leads to
        assert np.array_equal(train.targets["semseg"][i, 0].numpy(), wanted), name
        assert bool(train.available[i, 1]) == (number >= 20) == bool(train.targets["depth"][i].any())
    # Labels of a task that a source is not described with are none: nothing of them is read.
    for file in (folder / "kitchens" / "depth").iterdir():
        file.write_bytes(b"no map")
    again = registry.open_dataset("own-data-home", tmp_path).split("train", SIZE)
    assert again.fingerprint == train.fingerprint
    assert torch.equal(again.targets["depth"], train.targets["depth"])
    (folder / "dataset.toml").write_text(TOML.replace(MAP, ""))
    apart = registry.open_dataset("own-data-home", tmp_path)
    assert {n: t.channels for n, t in apart.tasks.items()} == {"semseg": 3, "semseg_2": 4, "depth": 1}
    assert apart.split("train", SIZE).fingerprint != train.fingerprint


def test_a_description_of_one_source_names_the_head_itself(tmp_path: Path) -> None:
    one = TOML.replace(SECOND, "").replace('[[sources]]\nname = "kitchens"\n', "")
    folder = write(tmp_path / "own-data", one.replace("sources.", ""))
    toml = folder / "dataset.toml"
    names = '[tasks.semseg.map]\nfloor = "flat"\nwall = "upright"\nthing = "upright"\n'
    toml.write_text(toml.read_text() + names)
    with pytest.raises(UserError, match=r"\[tasks.semseg\] of .* has no head; add head = the list of the cl"):
        _ = registry.open_dataset("own-data-home", tmp_path).tasks
    head = 'head = ["upright", "flat", "sky"]\n[tasks.semseg.map]'
    toml.write_text(toml.read_text().replace("[tasks.semseg.map]", head))
    data = registry.open_dataset("own-data-home", tmp_path)
    assert data.tasks["semseg"].classes == ("upright", "flat", "sky")
    split = data.split("test", SIZE)
    wanted = np.array([1, 0, 0, *[255] * 253], np.uint8)[arrays(6)["semseg"]]
    assert np.array_equal(split.targets["semseg"][0, 0].numpy(), wanted)


def test_runs_on_several_sources_hide_labels_and_resume_to_the_same_bits(tmp_path: Path) -> None:
    write(tmp_path / "own-data")
    settings = [*SET[1::2], "dataset=own-data-home", 'labels="one"', 'tasks=["semseg", "depth"]']
    settings.append("precision=fp32")
    spec = plan.make(["multi_task"], settings, tmp_path).cells[0]
    data = Data(tmp_path)
    subject = contract.Subject(spec, data.split(spec, "train"), data.split(spec, "test"), data.tasks(spec))
    for check in (contract.hidden_labels, contract.resumable):
        check(subject)


def test_an_image_of_two_sources_is_refused_before_a_run(bench: Bench, tmp_path: Path) -> None:
    folder = write(tmp_path / "own-data")
    shutil.copy(folder / "kitchens/images/001.png", folder / "streets/photos/027.png")  # train, and test
    command = ("run", "own-data", "multi_task", *SET, "--data", tmp_path)
    code, out, err = bench(*command, "--results", tmp_path / "runs")
    assert code == 2 and err.count("\n") == 1, out + err
    assert f"{STREETS}/027 is the same image as {KITCHENS}/001" in err
    assert not records(tmp_path / "runs")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "streets"', 'name = "kitchens"', r"\[sources.2\] of .* has the name of another source"),
        ('name = "streets"', 'name = "No"', r"name = 'No' in \[sources.2\] of .* is wrong"),
        (SECOND, "", r"sources = .* is wrong; expected 2 to 32 tables"),
        ('name = "home"', 'name = "home"\nimages = "i"', "unknown key .*'images'"),
        ("ignore = 255\n", "ignored = 255\n", r"key in \[sources.2.tasks.semseg\] of .* 'ignored'; did"),
        ('images = "streets/photos"\n', "", r"\[sources.2\] of .* has no images"),
        ('lamp = ""\n', "", r"sources.2.tasks.semseg.map\] of .* has no lamp; add lamp = one of floor"),
        ('lamp = ""\n', 'light = ""\n', r"unknown key in \[sources.2.tasks.semseg.map\] of .*'light'"),
        ('wall = "wall"\n', 'wall = "brick"\n', "wall = 'brick' in .* is wrong; expected one of floor"),
        (MAP, 'head = ["a", "b"]\n', r"sources.2.tasks.semseg\] of .* has no \[map\]; add it, with a line"),
        ("unit = 0.01", 'unit = 0.01\nmap = {a = "b"}', r"key in \[sources.2.tasks.depth\] of .* 'map'"),
    ],
)
def test_a_mistake_in_sources_is_one_sentence(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TOML
    (tmp_path / "dataset.toml").write_text(TOML.replace(old, new))
    with pytest.raises(UserError, match=message):
        _ = registry.open_dataset("own-data-home", tmp_path).tasks


def test_what_does_not_fit_what_is_prepared_is_one_sentence(bench: Bench, tmp_path: Path) -> None:
    folder, data = write(tmp_path / "home"), tmp_path / "data"
    prepare = ("data", "prepare", "own-data", folder, "--data", data)
    assert bench(*prepare)[0] == 0
    changed = TOML.replace('"floor", "wall", "thing"', '"floor", "wall", "box"')
    (folder / "dataset.toml").write_text(changed.replace('thing = "thing"', 'thing = "box"'))
    for command, message in (
        (prepare, r"is prepared already, with other classes: {'semseg': .*; --force replaces it"),
        ((*prepare, "--variant", "clean"), "joins sources by the name home, not clean; leave that out"),
        (("data", "prepare", "own-data-house", *prepare[3:]), "joins sources by the name home, not house"),
        (("labels", "show", "own-data-home:depth", "--data", data), f"joins {KITCHENS}, {STREETS}; name"),
    ):
        code, out, err = bench(*command)
        assert code == 2 and re.search(message, err) and err.count("\n") == 1, (out, err)
    shutil.rmtree(data / STREETS)  # a source that is gone is named, and not left out
    code, _, err = bench("labels", "show", "own-data-home", "--data", data)
    assert code == 2 and f"there is no {STREETS} in {data}" in err, err
