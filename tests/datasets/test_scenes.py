"""Rendered scenes: labels against each other, determinism and the cache. Geometry: `test_rendering`."""

import errno
import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import datasets.scenes
from benchmark.errors import UserError
from datasets.base import Split
from datasets.rendering.furniture import CLASSES, FIGURE, PARTS
from datasets.rendering.render import render
from datasets.scenes import Scenes
from datasets.tasks import IGNORE

SIZE = (24, 32)
# Of the first six rooms to train on, and of the first one's image eight pixels by eight; class maps are
# pinned bit by bit, while a pixel's last bit may differ.
MEANS = {"depth": [3.2956], "normals": [10.2645, -24.2613, -69.7007]}
LIGHT = [[121, 131, 172, 135], [112, 113, 130, 116], [97, 101, 116, 108]]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return Scenes(tmp_path_factory.mktemp("data")).split("train", SIZE, 64)


def test_every_label_is_whole_and_every_class_occurs(small: Split) -> None:
    """What else `bench check` asks of a data set: tests/test_own_dataset.py."""
    for column, (name, task) in enumerate(Scenes(Path()).tasks.items()):
        valid = task.valid(task.maps.widen(small.targets[name])).flatten(1)
        assert torch.equal(valid.all(1), small.available[:, column])
    assert small.available[:, :5].all() and small.names[12] == "train-00012"
    assert len(CLASSES) == 13 and set(small.targets["semseg"].unique().tolist()) == set(range(13))


def test_parts_exist_where_a_figure_is_and_about_a_third_of_the_time(small: Split) -> None:
    semseg, parts = small.targets["semseg"], small.targets["parts"]
    figure = (semseg == FIGURE).flatten(1).any(1)
    assert torch.equal(figure, small.available[:, 5])
    assert 0.2 < float(figure.double().mean()) < 0.5
    assert (parts[~figure] == IGNORE).all()
    assert torch.equal(parts[figure] != 0, semseg[figure] == FIGURE)
    assert set(parts[figure].unique().tolist()) == set(range(len(PARTS)))


def test_a_room_looks_alike_at_every_size() -> None:
    coarse, fine = render(11, (24, 32))["semseg"], render(11, (72, 96))["semseg"]
    assert torch.equal(fine[:, 1::3, 1::3], coarse)  # the middle of three pixels is the coarse pixel's centre
    assert render(11, (20, 61))["image"].shape == (3, 20, 61)


def test_samples_depend_on_nothing_but_their_number(tmp_path: Path) -> None:
    few, many = Scenes(tmp_path / "a").split("train", SIZE, 2), Scenes(tmp_path / "b").split("train", SIZE, 5)
    alone = render(datasets.scenes._seed("train", 4), SIZE)
    assert torch.equal(alone["image"], many.images[4])
    assert torch.equal(alone["normals"], many.targets["normals"][4])
    assert few.fingerprint == Scenes(tmp_path / "c").split("train", SIZE, 2).fingerprint


def test_a_changed_generator_needs_a_new_version() -> None:
    content, rooms = hashlib.sha256(), [render(datasets.scenes._seed("train", i), (24, 32)) for i in range(6)]
    for maps in rooms:
        for name in ("semseg", "edge", "saliency", "parts"):
            content.update(maps[name].numpy().tobytes())
    for name, mean in MEANS.items():
        found = torch.stack([maps[name].double() for maps in rooms]).mean((0, 2, 3))
        assert found.tolist() == pytest.approx(mean, rel=1e-3), f"the {name} changed: bump VERSION"
    light = rooms[0]["image"].double().mean(0).view(3, 8, 4, 8).mean((1, 3))
    assert (light - torch.tensor(LIGHT)).abs().max() < 1, "light or shadows changed: bump VERSION"
    # A pixel in the sun that is in a shadow if rays are culled one by one, in a few rooms of many.
    thin = render(datasets.scenes._seed("train", 28), (96, 128))["image"][:, 33, 48].double()
    assert (thin - torch.tensor([167, 205, 158])).abs().max() < 9, "shadows changed: bump VERSION"
    pinned = {1: "5a26b550b46f146e"}
    assert content.hexdigest()[:16] == pinned[datasets.scenes.VERSION], "the rooms changed: bump VERSION"


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []

    def counted(seed: int, size: tuple[int, int]) -> dict[str, torch.Tensor]:
        calls.append(seed)
        return render(seed, size)

    monkeypatch.setattr(datasets.scenes, "render", counted)
    return calls


def test_the_cache_renders_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _counted(monkeypatch)
    scenes, heard = Scenes(tmp_path), []
    scenes.progress = lambda done, wanted: heard.append((done, wanted))
    size = (16, 16)
    first = scenes.split("train", size, 5)
    assert len(calls) == 5 and heard == [(i, 5) for i in range(1, 6)]
    assert scenes.split("train", size, 5).fingerprint == first.fingerprint and len(calls) == 5
    more = scenes.split("train", size, 40)
    assert len(calls) == 40 and len(set(calls)) == 40
    assert torch.equal(more.images[:5], first.images)
    assert scenes.split("train", size, 5).fingerprint == first.fingerprint and len(calls) == 40
    files = sorted(p.name for p in (tmp_path / "scenes/v1/train-16x16").iterdir())
    assert files == [f"room-{i:05d}.npz" for i in range(40)]


def altered(path: Path) -> bytes:
    """Well formed, but not what was rendered."""
    arrays, file = dict(np.load(path)), io.BytesIO()
    np.savez(file, **arrays | {"depth": arrays["depth"] + np.float16(1)})
    return file.getvalue()


def flipped(path: Path) -> bytes:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    return bytes(content)


def test_a_damaged_file_is_rendered_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Scenes(tmp_path).split("test", (8, 8), 3)
    path, calls = tmp_path / "scenes/v1/test-8x8/room-00002.npz", _counted(monkeypatch)
    for damage in (lambda p: p.read_bytes()[: p.stat().st_size // 2], flipped, lambda p: b"", altered):
        path.write_bytes(damage(path))
        for _ in range(2):
            again = Scenes(tmp_path).split("test", (8, 8), 3)
            assert len(calls) == 1
            assert again.fingerprint == whole.fingerprint
            assert torch.equal(again.targets["depth"], whole.targets["depth"])
        calls.clear()


def test_writers_at_the_same_time_do_no_harm(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        splits = list(pool.map(lambda n: Scenes(tmp_path).split("train", (8, 8), n), (3, 9, 6, 9)))
    assert splits[1].fingerprint == splits[3].fingerprint
    assert torch.equal(splits[0].images, splits[1].images[:3])
    assert Scenes(tmp_path).split("train", (8, 8), 9).fingerprint == splits[1].fingerprint
    assert not [p for p in (tmp_path / "scenes/v1/train-8x8").iterdir() if p.name.startswith(".")]


def test_a_folder_that_cannot_be_written_is_the_users_to_change(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write rendered scenes"):
        Scenes(tmp_path / "file").split("test", (8, 8), 1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match="No space left on device"):
        Scenes(tmp_path).split("test", (8, 8), 1)
    assert not list((tmp_path / "scenes/v1/test-8x8").iterdir())


def test_bad_requests_are_explained(tmp_path: Path) -> None:
    for message, *given in (("unknown split", "val", (8, 8), 1), ("limit is 0", "train", (8, 8), 0),
                            ("4x9", "train", (4, 9), 1)):  # fmt: skip
        with pytest.raises(UserError, match=message):
            Scenes(tmp_path).split(*given)
