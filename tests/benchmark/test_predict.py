"""A finished run's network in the hands of its user, without data, weights files or surprises."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark import load_model
from benchmark.cli.predict import predict
from benchmark.errors import UserError
from benchmark.execute.model import Model, as_rgb, restored
from benchmark.execute.options import Options
from benchmark.execute.progress import Progress
from benchmark.execute.workers import carry_out
from benchmark.runs import schema
from benchmark.runs.rundir import RunDir, every_run
from benchmark.spec import plan
from benchmark.spec.registry import open_dataset
from benchmark.training import loop
from datasets import tasks as t
from methods.networks import packaged
from tests.helpers import SIX

SIZE, TEST = (32, 64), 14
SETTINGS = [
    "size=[32, 64]", "train_images=8", "test_images=14", "batch=4", "epochs=1", "width=8", "decoder_blocks=1",
    "seeds=1", f"tasks={json.dumps(SIX)}",
]  # fmt: skip


def run(results: Path, data: Path, methods: tuple[str, ...], *more: str) -> list[RunDir]:
    """Runs as the command line plans and runs them, without boards; of single_task that of depth alone."""
    made = plan.make(list(methods), [*SETTINGS, *more], data)
    cells = tuple(cell for cell in made.cells if len(cell.tasks) > 1 or cell.tasks == ("depth",))
    found = carry_out(cells, Options(results, data, weights=made.weights), Progress(cells))
    assert len(found["done"]) == len(cells)
    return every_run(results)


@pytest.fixture(scope="module")
def results(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs, and beside each record what its network predicted when it was trained."""
    folder, finish = tmp_path_factory.mktemp("predict") / "runs", loop.Run.finish

    def watched(self: loop.Run, place: RunDir, *arguments: Any) -> dict[str, Any]:
        record = finish(self, place, *arguments)
        self.method.eval()
        with torch.no_grad():
            batches = [self.method.predict(self.test.rows(start)[0]) for start in range(0, TEST, 4)]
        seen = {name: torch.cat([b[name] for b in batches])[:TEST] for name in batches[0]}
        torch.save(seen, place.file("seen.pt"))
        return record

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Run, "finish", watched)
        small = [f"hparams.prototype.{key}" for key in ("codes=16", "proto_dim=16", "width=16", "heads=2")]
        run(folder, data_folder, ("single_task", "multi_task", "prototype"), "labels=full", *small)
    return folder


@pytest.fixture
def multi_task(results: Path) -> Path:
    return next(r.path for r in every_run(results) if r.name.startswith("multi_task"))


@pytest.fixture
def copied(multi_task: Path, tmp_path: Path) -> Path:
    """A copy of a run, to be damaged."""
    target = tmp_path / "copy" / multi_task.parent.name / multi_task.name
    shutil.copytree(multi_task, target)
    return target


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images of different sizes and formats, and a file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    g = np.random.default_rng(0)
    for name, size in {"wide.jpg": (40, 200), "tall.PNG": (90, 45), "fits.webp": SIZE}.items():
        Image.fromarray(g.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    (folder / "._a.jpg").write_bytes(b"what a desktop keeps")
    return folder


def test_a_loaded_model_gives_the_bits_of_the_trained_method(results: Path, data_folder: Path) -> None:
    images = open_dataset("scenes", data_folder).split("test", SIZE, TEST).images
    # Both in batches of four: what evaluation fills the last one up with is the last image again.
    filled = torch.cat([images, images[-1:], images[-1:]])
    runs = every_run(results)
    assert len(runs) == 3
    for place in runs:
        assert place.record is not None
        model, seen = load_model(place.record["id"][:7], str(results)), torch.load(place.file("seen.pt"))
        found = model.predict(filled)
        assert list(found) == list(seen) == list(model.spec.tasks)
        assert found.keys() == place.record["metrics"].keys()
        for name, values in seen.items():
            assert torch.equal(values, found[name][:TEST]), (place.name, name)


def test_images_of_the_models_size_are_predicted_as_frames_are(multi_task: Path, data_folder: Path) -> None:
    model = load_model(multi_task)
    images = open_dataset("scenes", data_folder).split("test", SIZE, 4).images
    raw = model.predict(images)
    arrays = [image.numpy().transpose(1, 2, 0) for image in images]
    mirrored = [np.ascontiguousarray(a[:, ::-1])[:, ::-1] for a in arrays]  # no copy: strides below 0
    for given in (arrays, mirrored, [Image.fromarray(a) for a in arrays]):
        found = list(model.predict_images(given))
        assert len(found) == 4
        for i, maps in enumerate(found):
            assert torch.equal(maps["semseg"], raw["semseg"][i].argmax(0).to(torch.uint8))
            assert torch.equal(maps["depth"], raw["depth"][i, 0])
            assert torch.allclose(maps["edge"], torch.sigmoid(raw["edge"][i, 0]))
            unit = raw["normals"][i] / raw["normals"][i].norm(dim=0)
            assert torch.allclose(maps["normals"], unit, atol=1e-5)


def test_other_sizes_are_padded_not_distorted_and_come_back_at_their_own(multi_task: Path) -> None:
    """Of twice the frame's height: it stands at the top left, with the encoder's mean colour beside it."""
    model = load_model(multi_task)
    small = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    large = small.repeat(2, 0).repeat(2, 1)
    (maps,) = model.predict_images([large])
    assert all(m.shape == ((3, 64, 64) if name == "normals" else (64, 64)) for name, m in maps.items())
    shown, pixels = torch.zeros(1, 3, *SIZE), torch.from_numpy(large).permute(2, 0, 1)[None].float()
    row = torch.nn.functional.interpolate(pixels, (32, 32), mode="bilinear", antialias=True).round()
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in model.normalisation)
    shown[..., :32] = (row / 255 - mean) / std
    with torch.no_grad():
        raw = model.method.predict(shown)["depth"][:, :, :, :32]
    expected = torch.nn.functional.interpolate(raw, (64, 64), mode="bilinear")[0, 0]
    assert torch.allclose(maps["depth"], expected, atol=1e-5)


def test_classes_are_those_of_the_largest_resized_logit() -> None:
    raw = torch.randn(5, 8, 16)
    found = restored(t.semseg(tuple("abcde")), raw, (6, 16), (50, 120))
    resized = torch.nn.functional.interpolate(raw[None, :, :6], (50, 120), mode="bilinear", antialias=True)[0]
    assert found.dtype == torch.uint8 and torch.equal(found.long(), resized.argmax(0))


def test_the_camera_held_sideways_is_turned(multi_task: Path, tmp_path: Path) -> None:
    upright = np.random.default_rng(2).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees clockwise to see it upright
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(upright).save(tmp_path / "upright.png")
    with Image.open(tmp_path / "turned.png") as image:
        assert image.size == (32, 64) and np.array_equal(as_rgb(image), upright)
    assert predict(str(multi_task), [tmp_path], tmp_path / "out", tmp_path, device="cpu")[0] == 0
    turned, straight = (np.load(tmp_path / "out" / f"{name}.npz") for name in ("turned", "upright"))
    for name in SIX:
        assert np.array_equal(turned[name], straight[name])
    with Image.open(tmp_path / "out" / "turned-depth.png") as picture:
        assert picture.size == (64, 32)


def test_predictions_of_a_folder(multi_task: Path, results: Path, photos: Path, tmp_path: Path) -> None:
    """No data set is there, and the run is named as `bench show` takes it."""
    out = tmp_path / "new" / "out"
    name = json.loads((multi_task / "record.json").read_text())["id"][:8]
    assert predict(name, [photos, photos / "wide.jpg"], out, results, device="cpu")[0] == 0
    sizes = {"wide.jpg": (40, 200), "tall.PNG": (90, 45), "fits.webp": SIZE}
    stems = [name.partition(".")[0] for name in sizes]
    files = {f"{stem}{end}" for stem in stems for end in (".npz", *(f"-{task}.png" for task in SIX))}
    assert {path.name for path in out.iterdir()} == files
    model = load_model(name, results)
    dtypes = dict.fromkeys(SIX, "float16") | {"normals": "int8", "semseg": "uint8", "parts": "uint8"}
    for (file, size), stem in zip(sizes.items(), stems, strict=True):
        with Image.open(photos / file) as image:
            (maps,) = model.predict_images([image])
        with np.load(out / f"{stem}.npz") as stored:
            assert {task: str(stored[task].dtype) for task in SIX} == dtypes
            for task in SIX:
                assert stored[task].shape == maps[task].shape and stored[task].shape[-2:] == size
                scale, within = (127, 0.51) if task == "normals" else (1, 5e-3)
                expected = maps[task].numpy() * scale
                assert np.allclose(stored[task].astype(float), expected, rtol=1e-3, atol=within)
                with Image.open(out / f"{stem}-{task}.png") as picture:
                    assert picture.size == size[::-1]


def test_equal_names_do_not_overwrite_each_other(
    multi_task: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    picture = Image.open(photos / "fits.webp").convert("RGB")
    picture.putalpha(9)
    picture.save(other / "wide.png")
    out, call = tmp_path / "out", (str(multi_task), [photos / "wide.jpg", other / "wide.png"])
    with pytest.raises(
        UserError, match=r"predictions of wide\.jpg and wide\.png would have one name; predict them apart"
    ):
        predict(*call, out, tmp_path, device="cpu")
    assert not out.exists()
    assert predict(call[0], call[1][1:], out, tmp_path, device="cpu")[0] == 0
    assert "note: 1 images are transparent in places, such as wide.png" in capsys.readouterr().out


def test_a_second_time_needs_force_and_a_file_is_no_folder(
    multi_task: Path, photos: Path, tmp_path: Path
) -> None:
    def times() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}

    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"could not write in .*file: File exists; .* folder with --out"):
        predict(str(multi_task), [photos], tmp_path / "file", tmp_path, device="cpu")
    call = (str(multi_task), [photos / "fits.webp"], tmp_path / "out", tmp_path)
    assert predict(*call, device="cpu")[0] == 0
    before = times()
    with pytest.raises(UserError, match=r"already holds fits\.npz and 6 more .* give --force"):
        predict(*call, device="cpu")
    assert times() == before and predict(*call, device="cpu", force=True)[0] == 0
    assert times().keys() == before.keys() and all(times()[name] > before[name] for name in before)


def test_pretrained_weights_are_needed_for_training_alone(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One from a file and one from a package, which are both gone when their networks are used."""
    import torchvision

    file, one, two = tmp_path / "r18.pth", tmp_path / "one", tmp_path / "two"
    torch.manual_seed(3)
    pretrained = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(pretrained, file)
    (first,) = run(one, data_folder, ("multi_task",), "encoder=resnet18", f"weights={file}")
    lite = ("encoder=timm:tf_efficientnet_lite0", "weights=package")
    (second,) = run(two, data_folder, ("multi_task",), *lite)
    content = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    file.unlink()
    monkeypatch.setattr(packaged, "find", lambda encoder: 1 / 0)
    for place, weights in ((first, f"sha256:{content}"), (second, "package")):
        model = load_model(place.path)
        assert model.spec.protocol.weights == weights
        (maps,) = model.predict_images([np.zeros((*SIZE, 3), np.uint8)])
        assert set(maps) == set(SIX)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("ran code from a file",)


def test_runs_without_a_network_to_use(
    copied: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, record = copied / "weights.pt", copied / "record.json"
    (other,) = (r.path for r in every_run(results) if r.name.startswith("single_task"))
    content = json.loads(record.read_text())

    def refused(message: str) -> None:
        with pytest.raises(UserError, match=message):
            load_model(copied)

    with pytest.raises(UserError, match="'nothing' names no run in "):
        load_model("nothing", results)
    good = weights.read_bytes()
    weights.write_bytes(good[: len(good) // 2])
    refused(r"weights\.pt is damaged .*; compute it again with `bench run \.\.\. --force`")
    shutil.copy(other / "weights.pt", weights)
    refused(r"weights\.pt does not fit multi_task as it is built now .*another run's")
    torch.save([1], weights)
    refused(r"weights\.pt does not fit multi_task")
    torch.save({"a": Malicious()}, weights)
    refused("is damaged")
    assert "ran code" not in capsys.readouterr().out
    weights.unlink()
    refused(r"has no weights \(it ran with --keep none, or they were removed\)")
    record.write_text(json.dumps(content | {"spec": content["spec"] | {"label_seed": 5}}))
    refused(r"record\.json says id .* it was edited or mixed up")
    record.unlink()
    refused("is missing, and only a finished run has a network to use; finish it with `bench run`")


def test_other_code_of_the_method_is_noted(
    copied: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((copied / "record.json").read_text())
    (copied / "record.json").write_text(json.dumps(schema.sealed(record | {"source": "000000000000"})))
    assert predict(str(copied), [photos / "fits.webp"], tmp_path / "out", tmp_path, device="cpu")[0] == 0
    assert "was computed by other code of multi_task" in capsys.readouterr().out.replace("\n", " ")


BAD_IMAGES = {
    "absent": ("nowhere.jpg", r"there is no .*nowhere\.jpg; name image files, or folders of them"),
    "empty": ("empty", r"there is no image \(\.jpg, \.jpeg, \.png, \.webp\) in the folder .*empty"),
    "text": ("notes.txt", r"notes\.txt is no JPEG, PNG or WebP file, or damaged"),
    "the output": ("out/old.png", r"old\.png lies in .*out, where .* name another folder with --out"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_what_is_no_image_is_named(case: str, multi_task: Path, photos: Path, tmp_path: Path) -> None:
    name, message = BAD_IMAGES[case]
    (photos / "empty").mkdir()
    out = photos / "out"
    if case == "the output":
        out.mkdir()
        shutil.copy(photos / "tall.PNG", out / "old.png")
    with pytest.raises(UserError, match=message):
        predict(str(multi_task), [photos / "fits.webp", photos / name], out, tmp_path, device="cpu")
    assert not out.exists() or [path.name for path in out.iterdir()] == ["old.png"]


def test_tensors_and_arrays_of_another_kind(multi_task: Path) -> None:
    model: Model = load_model(multi_task)
    good = torch.zeros(1, 3, 32, 64, dtype=torch.uint8)
    for images in (good.float(), good[0], good[..., :8]):
        with pytest.raises(UserError, match=re.escape("are not (B, 3, 32, 64) and torch.uint8")):
            model.predict(images)
    for array in (np.zeros((8, 8, 3)), np.zeros((8, 8), np.uint8), np.zeros((0, 8, 3), np.uint8)):
        with pytest.raises(UserError, match=r"is not \(h, w, 3\) and uint8"):
            list(model.predict_images([array]))
