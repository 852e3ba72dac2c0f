"""Data sets of files: what a data folder holds, which of it a name means, and what is said where it does not
fit.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.errors import UserError
from benchmark.spec import registry
from datasets import packed
from datasets.cityscapes import Cityscapes
from datasets.layouts.mtan_nyuv2 import MtanNYUv2
from datasets.nyuv2 import NYUv2
from datasets.pascal_context import PascalContext
from tests.datasets.mtan_folder import HEIGHT, WIDTH, arrays, write

SIZE = (HEIGHT, WIDTH)


def prepare(folder: Path, data: Path, variant: str = "nyuv2-13", size: tuple[int, int] = SIZE) -> None:
    packed.prepare(MtanNYUv2(folder), data, "nyuv2", variant, size, "scale")


@pytest.mark.parametrize(
    ("split", "number", "first", "folder"), [("train", 3, 0, "train"), ("test", 2, 100, "val")]
)
def test_a_folder_is_read_where_nothing_is_prepared(tmp_path, split, number, first, folder):
    read = NYUv2(write(tmp_path)).split(split, SIZE)
    assert (
        len(read) == read.total == number
        and read.ids.tolist() == list(range(number))
        and read.ids.dtype == torch.int64
    )
    assert read.names == tuple(f"{folder}/{i}" for i in range(number)) and read.extents is None
    assert list(read.targets) == ["semseg", "depth", "normals"]
    assert read.targets["depth"].dtype == torch.float16 and read.targets["normals"].dtype == torch.int8
    for i in range(number):
        stored = arrays(first + i)
        assert (
            np.abs(read.images[i].permute(1, 2, 0).numpy() / 255 - stored["image"]).max() <= 0.5 / 255 + 1e-6
        )
        assert np.array_equal(
            read.targets["semseg"][i, 0].float(), np.where(stored["label"] < 0, 255, stored["label"])
        )
        depth = read.targets["depth"][i, 0].numpy().astype(np.float32)
        assert (np.abs(depth - stored["depth"][..., 0]) <= 2**-11 * stored["depth"][..., 0]).all()
        assert (
            np.abs(read.targets["normals"][i].permute(1, 2, 0).numpy() / 127 - stored["normal"]).max()
            <= 0.5 / 127 + 1e-6
        )


def test_a_store_and_the_folder_it_was_made_from_are_the_same_data(tmp_path):
    folder, data = write(tmp_path / "folder"), tmp_path / "data"
    prepare(folder, data)
    for split in packed.SPLITS:
        for limit in (None, 2):
            stored, read = NYUv2(data).split(split, SIZE, limit), NYUv2(folder).split(split, SIZE, limit)
            assert stored.fingerprint == read.fingerprint and torch.equal(stored.images, read.images)
            assert all(torch.equal(stored.targets[name], read.targets[name]) for name in read.targets)


def test_the_fingerprint_is_that_of_the_content(tmp_path):
    first = NYUv2(write(tmp_path / "a")).split("train", SIZE).fingerprint
    folder = write(tmp_path / "b")
    assert NYUv2(folder).split("train", SIZE).fingerprint == first
    assert NYUv2(folder).split("train", (HEIGHT * 2, WIDTH * 2)).fingerprint != first
    for kind in ("image", "label", "depth", "normal"):
        path = folder / "train" / kind / "2.npy"
        before = np.load(path)
        after = before.copy()
        after[5, 5] = {"image": 0.123, "label": (before[5, 5] + 2) % 13, "depth": 1.25, "normal": (0, 0, 1)}[
            kind
        ]
        np.save(path, after)
        assert NYUv2(folder).split("train", SIZE).fingerprint != first, kind
        np.save(path, before)
    assert NYUv2(folder).split("train", SIZE).fingerprint == first


def test_the_folder_may_be_given_itself_or_as_its_parent(tmp_path):
    write(tmp_path / "nyuv2")
    (tmp_path / "train").mkdir()  # another data set beside it
    own, parent = (NYUv2(path).split("train", SIZE) for path in (tmp_path / "nyuv2", tmp_path))
    assert own.fingerprint == parent.fingerprint


def test_availability_is_per_image_and_task(tmp_path):
    write(tmp_path)
    np.save(tmp_path / "train/label/0.npy", np.full(SIZE, -1.0))
    np.save(tmp_path / "train/depth/1.npy", np.zeros((*SIZE, 1)))
    np.save(tmp_path / "train/normal/2.npy", np.zeros((*SIZE, 3)))
    available = NYUv2(tmp_path).split("train", SIZE).available
    assert available.tolist() == [[False, True, True], [True, False, True], [True, True, False]]


def test_images_are_resized_without_aliasing(tmp_path):
    """Stripes finer than the new pixels turn grey; a smooth image stays what it is."""
    write(tmp_path, height=96, width=128)
    stripes = np.zeros((96, 128, 3), np.float32)
    stripes[:, 1::4] = stripes[:, 2::4] = 1  # what a new pixel's centre lies between
    ramp = np.broadcast_to(np.linspace(0, 1, 128, dtype=np.float32)[None, :, None], (96, 128, 3))
    np.save(tmp_path / "train/image/0.npy", stripes)
    np.save(tmp_path / "train/image/1.npy", ramp)
    images = NYUv2(tmp_path).split("train", (24, 32)).images.double() / 255
    assert (images[0, :, :, 1:-1] - 0.5).abs().max() < 0.05
    centres = torch.from_numpy(ramp[:24].astype(np.float64)).view(24, 32, 4, 3).mean(2).permute(2, 0, 1)
    assert (images[1] - centres)[:, :, 1:-1].abs().max() < 0.01


def test_without_data_a_name_means_the_papers(tmp_path):
    for name, variant in {
        "nyuv2": "nyuv2-13",
        "nyuv2-40": "nyuv2-40",
        "nyuv2-13-mine": "nyuv2-13-mine",
    }.items():
        dataset = registry.open_dataset(name, tmp_path)
        assert dataset.variant == variant and not dataset.present() and dataset.here() == ()
    assert len(registry.open_dataset("nyuv2-40", tmp_path).tasks["semseg"].classes) == 40
    assert list(registry.open_dataset("pascal_context", tmp_path).tasks) == [
        "semseg",
        "parts",
        "saliency",
        "normals",
        "edge",
    ]
    assert registry.open_dataset("cityscapes", tmp_path).tasks["depth"].inverse
    for kind in (NYUv2, Cityscapes, PascalContext):
        for form, made in kind.forms.items():
            assert kind.form_of(form) == form and not any(side % 8 for side in made.size)


def test_a_variant_is_part_of_the_name(tmp_path):
    folder = write(tmp_path / "folder")
    (folder / "SOURCE.json").write_text(json.dumps({"dataset": "nyuv2", "variant": "derived-normals"}))
    assert (
        NYUv2(folder).variant
        == registry.open_dataset("nyuv2-13", folder).variant
        == "nyuv2-13-derived-normals"
    )
    data = tmp_path / "data"
    prepare(folder, data, "nyuv2-13-derived-normals")
    assert (
        NYUv2(data).variant == registry.open_dataset("nyuv2-13", data).variant == "nyuv2-13-derived-normals"
    )
    prepare(folder, data, "nyuv2-13-mine")
    with pytest.raises(
        UserError, match="holds nyuv2-13-derived-normals, nyuv2-13-mine; name one of them as dataset"
    ):
        _ = registry.open_dataset("nyuv2-13", data).variant
    assert registry.open_dataset("nyuv2-13-mine", data).variant == "nyuv2-13-mine"
    prepare(folder, data, "nyuv2-13")
    assert registry.open_dataset("nyuv2-13", data).variant == "nyuv2-13"  # an exact name is never ambiguous
    assert len(NYUv2(data).here()) == 3


def test_a_size_that_is_not_prepared_is_said_with_its_cure(tmp_path):
    folder, data = write(tmp_path / "folder"), tmp_path / "data"
    prepare(folder, data)
    with pytest.raises(
        UserError, match=r"prepared at 32x40 .*not at 64x80; `bench data prepare nyuv2-13 PATH --size 64x80`"
    ):
        NYUv2(data).split("train", (64, 80))
    prepare(folder, data, size=(64, 80))
    assert NYUv2(data).split("train", (64, 80)).images.shape[2:] == (64, 80)
    assert NYUv2(data, "nyuv2-13").default_size == (32, 40)


@pytest.mark.parametrize(
    ("name", "split", "limit", "message"),
    [
        ("nyuv2", "tset", None, "unknown split of nyuv2 'tset'; did you mean 'test'"),
        ("nyuv2", "train", 0, "limit is 0; expected at least 1 image"),
        ("nyuv2-40", "train", None, "is an MTAN folder, which holds 13 classes"),
        (
            "cityscapes",
            "train",
            None,
            r"there is no cityscapes in .*`bench data prepare cityscapes-7 PATH` prepares it from an MTAN",
        ),
        ("pascal-context", "test", None, "there is no pascal-context in .*from a PASCAL_MT folder"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path, name, split, limit, message):
    with pytest.raises(UserError, match=message) as caught:
        registry.open_dataset(name, write(tmp_path)).split(split, SIZE, limit)
    assert "\n" not in str(caught.value)


def test_a_published_split_must_be_of_these_images(tmp_path):
    folder, data = write(tmp_path / "folder"), tmp_path / "data"
    prepare(folder, data)
    split = NYUv2(data).split("train", SIZE)
    frozen = split.frozen(("depth", "semseg"))
    assert frozen is not None and NYUv2(data).split("test", SIZE).frozen(("depth",)) is None
    with pytest.raises(UserError, match=r"published:one.*not imported"):
        frozen("one")
    from datasets.published import import_file

    torch.save({"labels_weights": torch.eye(3)}, tmp_path / "one.pth")
    import_file(tmp_path / "one.pth", data)
    assert frozen("one").tolist() == [[False, True], [True, False], [False, False]]
    torch.save({"labels_weights": torch.eye(3)[[0, 1, 2, 0]]}, tmp_path / "four.pth")
    import_file(tmp_path / "four.pth", data, replace=True)
    with pytest.raises(
        UserError, match="split for other images: it has 4 rows and the train split of nyuv2 3 images"
    ):
        frozen("one")
