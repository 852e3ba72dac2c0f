"""What changed since it was packed is not called prepared; a full disk is a sentence; published rows follow
official numbers.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.errors import UserError
from benchmark.execute import attempt as execute
from benchmark.spec import plan, registry
from benchmark.training.batches import Feed
from benchmark.training.evaluate import TestSet
from datasets import labels, packed
from datasets.layouts.mtan_nyuv2 import MtanNYUv2
from datasets.nyuv2 import NYUv2
from datasets.packing import narrowed
from datasets.published import import_file
from tests.conftest import ROOT
from tests.datasets.mtan_folder import write
from tests.datasets.test_packed import TASKS as MEMORY_TASKS
from tests.datasets.test_packed import Memory
from tests.helpers import TASKS, THREE, tiny_protocol, tiny_split


def prepare(folder: Path, data: Path, **options: bool) -> tuple[packed.Store, bool]:
    return packed.prepare(MtanNYUv2(folder), data, "nyuv2", "nyuv2-13", (32, 40), "scale", **options)


def test_a_file_that_changed_is_not_prepared_already(tmp_path: Path) -> None:
    folder, data = write(tmp_path / "mtan"), tmp_path / "data"
    prepare(folder, data)
    np.save(folder / "train/depth/1.npy", np.ones((32, 40, 1)))
    with pytest.raises(
        UserError, match=r"from files that held something else than .*mtan does now; --force replaces it"
    ):
        prepare(folder, data)
    assert prepare(folder, data, replace=True)[1] and not prepare(folder, data)[1]


def test_a_copy_of_the_files_is_prepared_already(tmp_path: Path) -> None:
    folder, data = write(tmp_path / "mtan"), tmp_path / "data"
    store, _ = prepare(folder, data)
    for path in folder.rglob("*.npy"):
        os.utime(path, ns=(1, 1))
    again, fresh = prepare(folder, data)
    assert not fresh and again.manifest["state"] != store.manifest["state"] and again.verify() == []
    assert again.manifest["splits"] == store.manifest["splits"]


def test_a_damaged_store_is_not_prepared_already(tmp_path: Path) -> None:
    folder, data = write(tmp_path / "mtan"), tmp_path / "data"
    store, _ = prepare(folder, data)
    (store.folder / "test-depth.npy").unlink()
    with pytest.raises(UserError, match=r"test-depth.npy could not be read .*--force"):
        prepare(folder, data)
    assert prepare(folder, data, replace=True)[1]


def test_a_sample_in_both_splits_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "mtan")
    for kind in ("image", "label", "depth", "normal"):
        shutil.copy(folder / "train" / kind / "2.npy", folder / "val" / kind / "1.npy")
    with pytest.raises(
        UserError, match="has 1 of its test samples among its train samples, such as val/1, which is train/2"
    ):
        prepare(folder, tmp_path / "data")
    assert packed.find(tmp_path / "data", "nyuv2") == []


def test_other_tasks_are_not_prepared_already(tmp_path: Path) -> None:
    class Fewer(Memory):
        @property
        def tasks(self) -> dict[str, object]:  # type: ignore[override]
            return {name: MEMORY_TASKS[name] for name in ("semseg", "depth")}

    packed.prepare(Memory(), tmp_path, "made-up", "made-up-1", (32, 40), "pad")
    with pytest.raises(UserError, match="with other tasks"):
        packed.prepare(Fewer(), tmp_path, "made-up", "made-up-1", (32, 40), "pad")  # type: ignore[arg-type]


def test_half_a_store_is_replaced(tmp_path: Path) -> None:
    folder, data = write(tmp_path / "mtan"), tmp_path / "data"
    store, _ = prepare(folder, data)
    (store.folder / "manifest.json").unlink()
    assert prepare(folder, data)[1]


def test_other_folders_of_a_data_folder_are_not_looked_at(tmp_path: Path) -> None:
    prepare(write(tmp_path / "mtan"), tmp_path)
    for other in ("downloads/x", "cityscapes-7/128x256"):
        (tmp_path / other).mkdir(parents=True)
        (tmp_path / other / "manifest.json").write_text("{")
    assert NYUv2(tmp_path).variant == "nyuv2-13"
    with pytest.raises(UserError, match=r"cityscapes-7.*is damaged"):
        _ = registry.open_dataset("cityscapes", tmp_path).variant


def test_sizes_with_other_tasks_share_what_both_have(tmp_path: Path) -> None:
    folder = write(tmp_path / "mtan")
    prepare(folder, tmp_path)
    manifest = tmp_path / "nyuv2-13/32x40/manifest.json"
    packed.prepare(MtanNYUv2(folder), tmp_path, "nyuv2", "nyuv2-13", (64, 80), "scale")
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"tasks": ["semseg", "normals"]}))
    assert list(NYUv2(tmp_path).tasks) == ["semseg", "normals"]
    assert list(NYUv2(tmp_path).split("train", (64, 80)).targets) == ["semseg", "normals"]


FULL = """
import sys
from pathlib import Path
from benchmark.cli.app import main
sys.argv = ["bench", "data", "prepare", "nyuv2", sys.argv[1], "--size", "256x320", "--data", sys.argv[2]]
main()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system to fill needs root to mount it")
def test_a_full_disk_is_one_sentence_and_no_signal(tmp_path: Path) -> None:
    folder, disk = write(tmp_path / "mtan", 20, 2), tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True
    ).returncode:
        pytest.skip("this machine does not let tests mount a file system")
    try:
        done = subprocess.run(
            [sys.executable, "-c", FULL, str(folder), str(disk)], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 2, done
        assert (
            "cannot write" in done.stderr and "No space left" in done.stderr and done.stderr.count("\n") == 1
        )
        assert not [p for p in disk.rglob("*") if p.is_file() and not p.name.endswith(".lock")]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_published_rows_follow_official_numbers(tmp_path: Path) -> None:
    split = tiny_split(3)
    official = replace(split, names=("0004", "0003", "nyu_0006"))  # the official split starts 3, 4, 5, 6
    assert NYUv2.published_rows(official).tolist() == [1, 0, 3]
    assert NYUv2.published_rows(
        replace(split, ids=torch.tensor([5, 6, 7]), names=("train/5", "train/6", "train/7"))
    ).tolist() == [5, 6, 7]
    with pytest.raises(UserError, match="train image kitchen has no number of NYUv2's official split"):
        NYUv2.published_rows(replace(split, names=("0003", "kitchen", "0004")))


def test_a_published_split_holds_for_a_part_of_the_images(tmp_path: Path) -> None:
    folder, data = write(tmp_path / "mtan", 6, 2), tmp_path / "data"
    prepare(folder, data)
    rows = torch.eye(3)[[2, 0, 1, 1, 0, 2]]
    torch.save({"labels_weights": rows}, tmp_path / "one.pth")
    import_file(tmp_path / "one.pth", data)
    whole = NYUv2(data).split("train", (32, 40))
    few = NYUv2(data).split("train", (32, 40), 4)
    for split, wanted in (
        (whole, rows),
        (few, rows[:4]),
        (narrowed(whole, 4, 6), rows[4:]),
        (narrowed(few, 1, 3), rows[1:3]),
    ):
        frozen = split.frozen(THREE)
        assert frozen is not None
        assert torch.equal(
            labels.sample(split.ids, split.available, "published:one", 0, frozen), wanted.bool()
        )


def test_nothing_that_a_run_does_changes_a_store(tmp_path: Path) -> None:
    store, _ = prepare(write(tmp_path / "mtan"), tmp_path / "data")
    split = NYUv2(tmp_path / "data").split("train", (32, 40))
    split.images.zero_()
    split.targets["depth"].fill_(3)
    assert store.verify() == []


def test_padding_never_reaches_batches_or_evaluation() -> None:
    split = replace(tiny_split(), extents=torch.tensor([[32, 40]] * 12))
    garbage = {name: values.clone() for name, values in split.targets.items()}
    for values in garbage.values():
        values[..., 40:] = 1  # as a resampled border would smear labels
    split = replace(split, targets=garbage)
    protocol, tasks = tiny_protocol(scales=(1.0,), flip=False, colour=0.0), {n: TASKS[n] for n in THREE}
    normal = ((0.5,) * 3, (0.2,) * 3)
    feed = Feed(
        split, split.available[:, :3], tasks, protocol, seed=0, views=0, normalisation=normal, device="cpu"
    )
    for step in range(3):
        batch = feed.batch(step)
        empty = (batch.images == 0).all(1)  # content is 40 of 64 columns wide, wherever the crop puts it
        assert (empty.sum(2) >= 24).all()
        for name, task in tasks.items():
            assert not (task.valid(batch.targets[name])[:, 0] & empty).any()
    images, _ = TestSet(split, tasks, normal, 4, "cpu").rows(0)
    assert not images[..., 40:].any() and images[..., :40].any()


def test_a_protocol_chooses_the_metric_of_edges_and_the_data_set_its_tolerance(
    tmp_path: Path, data_folder: Path
) -> None:
    from benchmark.metrics.maps import meter
    from benchmark.metrics.ods import OdsMeter

    tiny = ["size=[32, 64]", 'tasks=["semseg", "edge"]', "train_images=4", "test_images=2"]
    for metric in ("boundaryF", "odsF"):
        spec = plan.make(["multi_task"], [*tiny, f"edge_metric={metric}"], data_folder).cells[0]
        tasks = execute.Data(data_folder).tasks(spec)
        assert tasks["edge"].metric == metric and tasks["semseg"].metric == "mIoU"
        assert isinstance(meter(tasks["edge"]), OdsMeter) == (metric == "odsF")
    edge = replace(registry.open_dataset("nyuv2-40", tmp_path).tasks["edge"], metric="odsF")
    found = meter(edge)
    assert isinstance(found, OdsMeter) and found.distance == 0.011


@pytest.mark.parametrize("inside", [".", "data"])
def test_a_store_inside_its_source_does_not_count_as_a_change(tmp_path: Path, inside: str) -> None:
    folder = write(tmp_path / "mtan")
    assert prepare(folder, folder / inside)[1]
    assert not prepare(folder, folder / inside)[1]
