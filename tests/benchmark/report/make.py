"""Made-up records in both layouts, for tests of the report. Numbers depend on the arguments alone."""

import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmark.spec import registry
from benchmark.spec.protocol import load
from benchmark.spec.run import run_id

TASKS = ("semseg", "depth", "normals")
INFO: dict[str, dict[str, Any]] = {
    task: {"metric": metric, "higher_is_better": up, "unit": unit, "kind": kind, "test_images": images}
    for task, metric, up, unit, kind, images in (
        ("semseg", "mIoU", True, "%", "classes", 64),
        ("depth", "absErr", False, "m", "depth", 64),
        ("normals", "mErr", False, "deg", "normals", 64),
        ("saliency", "maxF", True, "%", "saliency", 64),
        ("edge", "boundaryF", True, "%", "edge", 64),
        ("parts", "mIoU", True, "%", "classes", 21),
    )
}
BASE = {"semseg": 30.0, "depth": 0.42, "normals": 24.0, "saliency": 61.0, "edge": 44.0, "parts": 22.0}
FLOOR = {"semseg": 5.0, "depth": 0.9, "normals": 48.0, "saliency": 20.0, "edge": 9.0, "parts": 4.0}
SECOND = {"semseg": "pixAcc", "depth": "relErr", "normals": "median"}
SECOND |= {"saliency": "precision", "edge": "recall", "parts": "pixAcc"}
GAIN = {"single_task": 0.0, "multi_task": 2.0, "mtpsl": 3.5, "prototype": 6.0}
EXTRA = {"mtpsl": 1, "prototype": 3}  # parts of the network that only training needs
DEFAULTS = {"prototype": {"tke": True, "codes": 128, "lr_scale": 1.0}, "mtpsl": {"weight": 0.2}}
CELL = (24, 32)
RATES = "learning rates 0.5, 1 (of the protocol's) on 2 seeds, judged on the last 10% of train"


def rng(*parts: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32("|".join(map(str, parts)).encode()))


def mask(seed: int, images: int, tasks: tuple[str, ...]) -> np.ndarray:
    owner = rng("mask", seed).permutation(images) % len(tasks)
    return owner[:, None] == np.arange(len(tasks))


@cache
def version(method: str) -> int:
    """Today's, so that runs are on a board; 1 of a method that is made up."""
    return registry.describe(method).version if method in registry.method_names() else 1


@cache
def thin() -> str:
    return json.dumps(asdict(load("thin")))


def spec(
    method: str, seed: int = 0, tasks: tuple[str, ...] = TASKS, run_tasks: tuple[str, ...] = (), **values: Any
) -> Any:
    """A run's spec. values: `changed` {name: value}, `labels`, `balance`, `train_seed`, `protocol`, ..."""
    changed = values.get("changed", {})
    protocol = json.loads(thin()) | {"tasks": list(tasks)}
    return {
        "schema": 1,
        "protocol": protocol | values.get("protocol", {}),
        "dataset": "scenes",
        "variant": "scenes-v1",
        "labels": values.get("labels", "one"),
        "method": method,
        "method_version": values.get("method_version", version(method)),
        "hyperparameters": DEFAULTS.get(method, {}) | changed,
        "changed": sorted(changed),
        "balance": values.get("balance", "equal"),
        "tasks": list(run_tasks or tasks),
        "label_seed": seed,
        "train_seed": values.get("train_seed", seed),
        **{key: values[key] for key in ("balance_version", "weighting") if key in values},
        **({"tuning": how} if (how := values.get("tuning", RATES)) else {}),
    }


def score(method: str, task: str, seed: int, gain: float, noise: float) -> float:
    """A score `gain` percent better than the task's base, with noise partly shared by a seed's methods."""
    shared = rng("shared", task, seed).normal()
    own = rng("own", method, task, seed, gain).normal()
    sign = 1 if INFO[task]["higher_is_better"] else -1
    return float(BASE[task] * (1 + sign * (gain + noise * (0.7 * shared + 0.7 * own)) / 100))


def record(
    s: dict[str, Any], gain: float | None = None, noise: float = 1.5, images: int = 192, curve: bool = True
) -> dict[str, Any]:
    """A record for a spec."""
    method, seed, whole, run = s["method"], s["label_seed"], tuple(s["protocol"]["tasks"]), tuple(s["tasks"])
    gain = GAIN.get(method, 4.0) - (2.5 if s["changed"] else 0.0) if gain is None else gain
    labelled = mask(seed, images, whole)
    scores = {t: score(method, t, seed * 7 + s["train_seed"], gain, noise) for t in run}
    seconds = 4.0 + 0.3 * seed + 3.0 * len(run) * (1 + EXTRA.get(method, 0) / 3)
    points: list[dict[str, Any]] = []
    for epoch in range(13) if curve else ():
        rise = 1 - np.exp(-epoch / 3)
        test = {t: float(FLOOR[t] + (scores[t] - FLOOR[t]) * rise) for t in run}
        points.append({"step": epoch * 24, "epoch": float(epoch), "loss": {}})
        points[-1] |= {"test": test} if epoch % 3 == 0 and epoch < 12 else {}
    return {
        "schema": 1,
        "id": run_id(s),
        "spec": s,
        "tasks": {t: INFO[t] for t in run},
        "one_task": method == "single_task",
        "summary": f"made-up runs of {method}",
        "metrics": {t: {INFO[t]["metric"]: scores[t], SECOND[t]: scores[t] * 1.3} for t in run},
        "constant": {t: {INFO[t]["metric"]: FLOOR[t], SECOND[t]: FLOOR[t] * 1.3} for t in run},
        "oracle": {},
        "curve": points,
        "cost": {
            "params_train": 400_000 + 150_000 * len(run) + 90_000 * EXTRA.get(method, 0),
            "params_infer": 400_000 + 150_000 * len(run),
            "seconds": seconds,
            "gpu_hours": 0.0,
            "peak_gib": 0.6 + 0.1 * len(run),
            "images_per_second": 120.0 / len(run),
            "device": "cpu",
            "steps": 288,
        },
        "hashes": {"labels": f"mask{seed}", "data": "data1", "test_data": "data2", "order": "o", "crops": "c"}
        | {"init": {"encoder": "e"}},
        "label_counts": {t: int(labelled[:, whole.index(t)].sum()) for t in run},
        "images": images if method != "single_task" else int(labelled[:, whole.index(run[0])].sum()),
        "environment": {"dirty": False, "commit": "abc", "torch": "2"},
        "diagnostics": {},
    }


def panel(method: str, tasks: tuple[str, ...]) -> Image.Image:
    """4 rows, columns image, (truth, prediction, error) a task; each cell a smooth picture of its own."""
    y, x = np.mgrid[0 : CELL[0], 0 : CELL[1]] / 10.0
    rows = []
    for image in range(4):
        cells = []
        kinds = [f"{what}{t}" for t in tasks for what in ("truth", method, "error" + method)]
        for name in ("image", *kinds):
            own = name if name.startswith(("image", "truth")) else name + method
            a, b, c = rng(own, image).uniform(0.4, 1.6, 3)
            waves = np.sin(a * x + b), np.cos(b * y + c), np.sin(c * (x + y))
            cells.append(np.stack([127 + 120 * wave for wave in waves], -1))
        rows.append(np.concatenate(cells, 1))
    return Image.fromarray(np.concatenate(rows).astype(np.uint8))


def write_run(
    folder: Path, r: dict[str, Any], published: bool = False, panels: bool = True, images: int = 192
) -> Path:
    """Write a record with its files in one of the two layouts; return the path of its JSON."""
    s = r["spec"]
    place = folder / "records" / r["id"] if published else run_folder(folder, s) / "record"
    path, arrays = place.with_suffix(".json"), place.with_suffix(".npz")
    picture = place.with_suffix(".webp")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not published:
        arrays, picture = arrays.with_name("per_image.npz"), picture.with_name("panel.webp")
        (path.parent / "spec.json").write_text(json.dumps(s | {"id": r["id"]}))
    labelled = mask(s["label_seed"], images, tuple(s["protocol"]["tasks"])).astype(np.uint8)
    np.savez(arrays, labelled=labelled)
    if panels:
        panel(s["method"] + str(s["changed"]), tuple(s["tasks"])).save(picture, lossless=True)
    path.write_text(json.dumps(r))
    return path


def run_folder(folder: Path, s: dict[str, Any]) -> Path:
    return folder / "thin" / f"{s['method']}-{'-'.join(s['tasks'])}-s{s['label_seed']}-{run_id(s)}"


XTC = "loss of xtc became infinite at step 12, learning rate 0.002"


def write_failure(folder: Path, s: dict[str, Any], reason: str = XTC) -> Path:
    run = run_folder(folder, s)
    run.mkdir(parents=True)
    (run / "spec.json").write_text(json.dumps(s))
    (run / "error.txt").write_text(reason + "\n")
    return run / "error.txt"


def specs(method: str, seed: int, tasks: tuple[str, ...] = TASKS, **values: Any) -> list[Any]:
    """The specs of one seed: T for the one-task method."""
    if method == "single_task":
        return [spec(method, seed, tasks, (t,), **values) for t in tasks]
    return [spec(method, seed, tasks, **values)]


def write(
    folder: Path, method: str, seeds: int | Iterable[int] = 1, gain: float | None = None, noise: float = 1.5,
    edit: Callable[[dict[str, Any]], object] = lambda r: None, **values: Any,
) -> None:  # fmt: skip
    """Runs of a method over seeds, without curves and pictures. edit: changes each record."""
    for seed in range(seeds) if isinstance(seeds, int) else seeds:
        for s in specs(method, seed, **values):
            r = record(s, gain, noise, curve=False)
            edit(r)
            write_run(folder, r, panels=False)


def write_board(
    folder: Path, seeds: int = 3, tasks: tuple[str, ...] = TASKS, published: bool = False, **values: Any
) -> None:
    """Four methods and a variant over some seeds; panels of seed 0 only."""
    rows: list[tuple[str, dict[str, Any]]] = [(method, {}) for method in GAIN]
    rows.append(("prototype", {"changed": {"tke": False}}))
    for method, more in rows:
        for seed in range(seeds):
            for s in specs(method, seed, tasks, **more, **values):
                write_run(folder, record(s), published, panels=seed == 0)
