"""Write a finished run's network as one file for other programs, checked against the run's own maps."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.errors import UserError, reason
from benchmark.execute.model import Model, in_units
from benchmark.files import replacing
from datasets import augment

ENDS = {"torch": ".pt2", "onnx": ".onnx"}
PACKAGES = {"torch": (), "onnx": ("onnx", "onnxscript", "onnxruntime")}
# Of a map's largest value, and of the pixels of a map of classes: other kernels add up in another order.
TOLERANCE = 1e-3


class Differs(Exception):
    """The exported network gives other maps. found: {task: largest difference}."""

    def __init__(self, found: dict[str, float]) -> None:
        super().__init__(found)
        self.found = found


class Graph(nn.Module):
    """A network from images (B, 3, H, W) uint8 RGB to {task: maps} as `in_units` has them, in float32."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.method, self.tasks, self.normalisation = model.method, model.tasks, model.normalisation

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalise, predict, and bring into the tasks' units."""
        raw = self.method.predict(augment.identity(images, {}, {}, *self.normalisation)[0])
        return {name: in_units(task, raw[name].float()) for name, task in self.tasks.items()}


def check_format(form: str) -> None:
    """Raise `UserError` for an unknown format, and for one whose packages are not installed."""
    if form not in ENDS:
        raise UserError(f"--format {form!r} is not one of {', '.join(ENDS)}.")
    if missing := [package for package in PACKAGES[form] if find_spec(package) is None]:
        cure = "install it with `pip install -e '.[export]'`"
        raise UserError(f"--format {form} needs {', '.join(missing)}; {cure}, or use --format torch.")


def write(model: Model, path: Path, form: str, batch: int) -> dict[str, float]:
    """Write a network for batches of `batch` images, read it again, and compare its maps with the run's.

    Returns {task: largest difference}, as a share of a map's largest value, or of the pixels whose class is
    another; all in float32, whatever the run's precision. Raises `Differs` where one is above `TOLERANCE`,
    and `UserError` for a network that the format cannot hold; then nothing is written.
    """
    float32 = replace(model.spec, protocol=replace(model.spec.protocol, precision="fp32"))
    model = Model(float32, model.tasks, model.method, "cpu", fit=model.fit)
    images = torch.randint(256, (batch, 3, *model.size), generator=torch.Generator().manual_seed(0))
    images = images.to(torch.uint8)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporters' own about their code
        try:
            program = torch.export.export(Graph(model).eval(), (images,), strict=False)
            content = _onnx(program, [*model.tasks]) if form == "onnx" else _torch(program)
        except Exception as error:  # an operator that the format lacks, or a method's own
            cause: BaseException = error
            while cause.__cause__:
                cause = cause.__cause__
            why = reason(cause, named=True)[:160]
            raise UserError(
                f"the network of {model.spec.folder} cannot be exported as {form} ({why}); use "
                f"{'--format torch, or ' * (form == 'onnx')}`bench predict`."
            ) from None
        own = model.predict_images(image.permute(1, 2, 0).numpy() for image in images)
        try:
            with replacing(path) as draft:
                draft.write_bytes(content)
                found = _differences(model, _LOADERS[form](draft)(images), list(own))
                if not all(value <= TOLERANCE for value in found.values()):
                    raise Differs(found)
        except OSError as error:
            cure = "make room, permit writing there, or name another file with --out"
            raise UserError(f"could not write {path}: {error.strerror or error}; {cure}.") from None
    return found


def _differences(model: Model, maps: dict[str, Tensor], own: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    found = {}
    for name, task in model.tasks.items():
        theirs, ours = maps[name].float(), torch.stack([each[name] for each in own]).float()
        if theirs.shape != ours.shape:
            found[name] = float("inf")
        elif task.kind == "classes":
            found[name] = float((theirs != ours).float().mean())
        else:
            found[name] = float((theirs - ours).abs().max() / ours.abs().max().clamp_min(1e-12))
    return found


def _torch(program: torch.export.ExportedProgram) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _onnx(program: torch.export.ExportedProgram, tasks: list[str]) -> bytes:
    names: Any = {"input_names": ["images"], "output_names": tasks}
    made = torch.onnx.export(program, (), dynamo=True, external_data=False, verbose=False, **names)
    assert made is not None  # as there is no file to write
    content: bytes = made.model_proto.SerializeToString()
    return content


def _load_onnx(file: Path) -> Callable[[Tensor], dict[str, Tensor]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def predict(images: Tensor) -> dict[str, Tensor]:
        found = session.run(names, {"images": images.numpy()})
        return {name: torch.from_numpy(array) for name, array in zip(names, found, strict=True)}

    return predict


_LOADERS: dict[str, Callable[[Path], Callable[[Tensor], dict[str, Tensor]]]] = {
    "torch": lambda file: torch.export.load(file).module(),
    "onnx": _load_onnx,
}
