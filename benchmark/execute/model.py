"""Use a finished run's network: load its weights, and predict on images of any size."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmark import ROOT
from benchmark.errors import UserError, reason
from benchmark.files import read_tensors
from benchmark.runs.rundir import find_run
from benchmark.spec import registry
from benchmark.spec.run import RunSpec
from benchmark.spec.source import equal_code
from benchmark.training.build import build_method, normalisation
from benchmark.training.device import autocast
from benchmark.typed import convert
from datasets import augment
from datasets.fit import Fit, fit
from datasets.kinds import kind_of
from datasets.layouts.base import Sample
from datasets.layouts.pixels import rgb
from datasets.tasks import Task, from_dict
from methods.base import Method


class Model:
    """A run's network with its final weights, in evaluation mode.

    spec: the run's. tasks: {name: Task} that it predicts. size: (H, W) in pixels that it was trained at.
    note: what a user should know about it, or "". fit: how images of other sizes met the frame in training.
    """

    def __init__(
        self, spec: RunSpec, tasks: dict[str, Task], method: Method, device: str, note: str = "",
        fit: Fit = "scale",
    ) -> None:  # fmt: skip
        self.spec, self.tasks, self.size = spec, tasks, spec.protocol.size
        self.device, self.note, self.fit = device, note, fit
        self.method = method.to(device).eval()
        self.normalisation = normalisation(method)

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return {task: (B, channels, H, W)} float32 on the CPU of images (B, 3, H, W) uint8 RGB.

        Logits of classes, one logit of edges and saliency, metres of depth, normals that need not have unit
        length. The size is `self.size`; `predict_images` takes any. Raises `UserError` for another shape or
        dtype.
        """
        if images.dtype != torch.uint8 or images.shape[1:] != (3, *self.size) or not len(images):
            raise UserError(
                f"images of shape {tuple(images.shape)} and {images.dtype} are not (B, 3, {self.size[0]}, "
                f"{self.size[1]}) and torch.uint8; give RGB at the model's size, or use predict_images, "
                "which fits images of any size."
            )
        batches = [self._raw(batch) for batch in images.split(self.spec.protocol.batch)]
        return {name: torch.cat([batch[name] for batch in batches]) for name in self.tasks}

    def predict_images(self, images: Iterable[Image.Image | np.ndarray]) -> Iterator[dict[str, Tensor]]:
        """Yield {task: map} at its own size (h, w) for each image; images are taken a batch at a time.

        images: Pillow's, turned as their EXIF orientation says, or (h, w, 3) uint8 RGB. Each is resized to
        the largest size that the network's frame takes, its aspect kept (to 3 %, as for training images), the
        rest of the frame padded; what is predicted for the padding is cut off and the rest resized bilinearly
        (classes: their logits). Maps on the CPU: classes (h, w) uint8; edges, saliency (h, w) float32
        probabilities; depth (h, w) float32 metres; normals (3, h, w) float32 unit vectors (x right, y down, z
        forward). Raises `UserError` for an array that is no such image.
        """
        source = iter(images)
        while batch := list(itertools.islice(source, self.spec.protocol.batch)):
            rows, sizes = [], []
            for image in batch:  # one at its own size at a time
                array = as_rgb(image)
                rows.append(fit(Sample(array), {}, self.size, self.fit))
                sizes.append((array.shape[0], array.shape[1]))
            extents = torch.tensor([row.extent for row in rows])
            raw = self._raw(torch.stack([row.image for row in rows]), extents)
            for i, (size, row) in enumerate(zip(sizes, rows, strict=True)):
                yield {name: restored(t, raw[name][i], row.extent, size) for name, t in self.tasks.items()}

    @torch.no_grad()
    def _raw(self, images: Tensor, extents: Tensor | None = None) -> dict[str, Tensor]:
        """Return the predictions of one batch of frames, computed as a run's evaluation does."""
        here = None if extents is None else extents.to(self.device)
        shown, _ = augment.identity(images.to(self.device), {}, {}, *self.normalisation, here)
        with autocast(str(shown.device), self.spec.protocol.precision):
            predictions = self.method.predict(shown)
        return {name: predictions[name].float().cpu() for name in self.tasks}


def load_model(run: str | Path, results: str | Path = ROOT / "runs", device: str = "cpu") -> Model:
    """Return the network of a finished run.

    run: its folder, or its name, id or the start of its id in the folder `results`.
    Neither the data set nor the file or package of pretrained weights is needed: the run's own files have
    everything. Raises `UserError` when there is no such run, it is not finished, its weights were not kept,
    or they do not fit.
    """
    place, again = find_run(Path(results), str(run)), "compute it again with `bench run ... --force`"
    record, file = place.record, place.file("weights.pt")
    if record is None:
        raise UserError(
            f"{place.name} is {place.state()}, and only a finished run has a network to use; finish it with "
            "`bench run`."
        )
    if not file.exists():
        raise UserError(
            f"{place.name} has no weights (it ran with --keep none, or they were removed); {again}."
        )
    spec = _spec(record["spec"], str(place.file("record.json")))
    tasks = {name: from_dict(record["tasks"][name]) for name in spec.tasks}
    for task in tasks.values():
        kind_of(task.kind)  # names a plug-in that is not in use
    method = build_method(
        replace(spec, protocol=replace(spec.protocol, weights="none", init="none")), tasks, None, {}
    )
    try:
        weights = read_tensors(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is damaged ({reason(error)[:160]}); {again}.") from None
    try:
        if "method" in weights and "id" in weights:  # earlier runs kept the tensors alone
            if weights["id"] != spec.id:
                raise ValueError(f"it is of run {weights['id']}")
            weights = weights["method"]
        method.load_state_dict(weights)
    except Exception as error:  # not a table of tensors, other names, other shapes
        raise UserError(
            f"{file} does not fit {spec.method} as it is built now ({reason(error)[:160]}); it is "
            f"another run's or of other code: restore it or that code, or {again}."
        ) from None
    other = record.get("source") not in equal_code(spec.method, registry.source_hash(spec.method))
    note = f"{place.name} was computed by other code of {spec.method}, so its predictions may differ."
    return Model(spec, tasks, method, device, note if other else "", record.get("fit", "scale"))


def _spec(values: dict[str, Any], where: str) -> RunSpec:
    """Return the spec that a record holds, whether or not the code as it is now would run it."""
    plain = {key: value for key, value in values.items() if key != "schema"}
    hyperparameters, changed = registry.resolve_hyperparameters(values["method"], values["hyperparameters"])
    spec: RunSpec = convert(plain, RunSpec, where)
    return replace(spec, hyperparameters=hyperparameters, changed=changed)


def as_rgb(image: Image.Image | np.ndarray) -> np.ndarray:
    """Return (h, w, 3) uint8 RGB. Raises `UserError` for a picture or an array of another kind."""
    if isinstance(image, Image.Image):
        try:
            return np.array(rgb(image).pixels)
        except Exception as error:  # also what a damaged file, read only now, makes of a decoder
            raise UserError(
                f"an image cannot be read as RGB of 8 bits a channel ({reason(error)[:160]}); convert it."
            ) from None
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise UserError(
            f"an image of shape {image.shape} and {image.dtype} is not (h, w, 3) and uint8; give RGB in 0 to "
            "255."
        )
    return np.array(image)  # torch takes neither read-only arrays nor mirrored views


def restored(task: Task, raw: Tensor, extent: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Return a map of `predict_images` at `size` (h, w) from a prediction (channels, H, W).

    extent: (h, w) of the image in the frame.
    """
    raw = raw[:, : extent[0], : extent[1]]

    def resized(channels: slice) -> Tensor:
        values = raw[channels][None]
        if extent == size:
            return values[0]
        return F.interpolate(values, size, mode="bilinear", antialias=True)[0]

    if task.kind == "classes":
        # The largest logit, class by class: all of them at a photograph's size would fill the memory.
        best, classes = resized(slice(0, 1))[0].clone(), torch.zeros(size, dtype=torch.uint8)
        for number in range(1, len(raw)):
            logit = resized(slice(number, number + 1))[0]
            classes[logit > best] = number
            best = torch.maximum(best, logit)
        return classes
    return in_units(task, resized(slice(None)))


def in_units(task: Task, raw: Tensor) -> Tensor:
    """Return maps of raw predictions (..., channels, h, w).

    Classes (..., h, w) uint8, probabilities of edges and saliency, metres of depth, (..., 3, h, w) unit
    normals; of a kind of one's own as they are, (..., C, h, w) of several channels.
    """
    if task.kind == "classes":
        return raw.argmax(-3).to(torch.uint8)
    if task.kind == "normals":
        return F.normalize(raw, dim=-3)
    values = raw.squeeze(-3)
    return values if task.maps.regression else values.sigmoid()
