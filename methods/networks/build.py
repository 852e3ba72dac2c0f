"""Encoders by name, with pretrained weights from torchvision, timm, an installed package or a local file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from benchmark.errors import UserError, unknown
from benchmark.files import read_tensors
from methods.networks import packaged
from methods.networks.depthwise import quicken
from methods.networks.encoders import Encoder, ResNet, Small, Trunk
from methods.networks.segnet import SegNet
from methods.networks.vit import ViTTrunk

SCRATCH = ("small", "segnet")
RESNETS = ("resnet18", "resnet50")
WEIGHTS = ("none", "imagenet", "package")  # and, instead of these, a file's content


def encoder_names() -> list[str]:
    """List the encoders."""
    return [*SCRATCH, *RESNETS, "timm:NAME"]


def check_encoder(name: str, weights: str) -> None:
    """Raise `UserError` for an encoder or weights that cannot be built."""
    if name.startswith("timm:"):
        _timm()
    elif name not in (*SCRATCH, *RESNETS):
        raise unknown("encoder", name, encoder_names())
    if name in SCRATCH and weights == "imagenet":
        raise UserError(f"encoder {name!r} has no ImageNet weights; set weights = 'none' or another encoder.")
    if weights == "package":
        packaged.find(name)


def make_encoder(
    name: str, width: int, weights: str = "none", file: Path | None = None, freeze: bool = False
) -> Encoder:
    """Build an encoder with `width` output channels.

    weights: "none"; "imagenet", by torchvision's or timm's own loading; "package", those that an installed
    package carries for it; anything else loads `file`. freeze: its trunk stays as it is from the start.
    Raises `UserError` when weights cannot be had or do not fit.
    """
    check_encoder(name, weights)
    if name.startswith("timm:"):
        own = name.removeprefix("timm:")
        plain = own.startswith("vit_")
        trunk = _vit(own, weights, file, freeze) if plain else TimmTrunk(own, weights, file)
        encoder = Encoder(trunk, width)
    else:
        encoder = (
            SegNet(width)
            if name == "segnet"
            else Encoder(Small() if name == "small" else ResNet(name), width)
        )
        if weights == "imagenet":
            load_trunk(encoder.trunk, _torchvision_weights(name), f"torchvision's {name}")
        elif file is not None:
            load_trunk(encoder.trunk, _within(read_state(file), encoder.trunk), str(file))
    return encoder.freeze() if freeze else encoder


def load_trunk(trunk: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load a classifier's state into a trunk, without the classifier.

    Under the trunk's own names or torchvision's.
    """
    if isinstance(trunk, ResNet) and not state.keys() >= trunk.state_dict().keys():
        state = {_own_name(key): value for key, value in state.items()}
    wanted = trunk.state_dict()
    fitting = {k: v for k, v in state.items() if k in wanted and v.shape == wanted[k].shape}
    missing = sorted(set(wanted) - set(fitting))
    if missing:
        raise UserError(
            f"{source} holds no weights for this encoder: {missing[0]} and {len(missing) - 1} more are "
            "missing or of another shape; give the weights of the encoder that the protocol names."
        )
    trunk.load_state_dict(fitting)


def _own_name(key: str) -> str:
    """The name in `ResNet` of one of torchvision's tensors."""
    head, _, rest = key.partition(".")
    return f"{ResNet.PREFIXES[head]}.{rest}" if head in ResNet.PREFIXES else key


def read_state(file: Path) -> dict[str, Tensor]:
    """Read a .pth or .safetensors file without running code from it."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(str(file))
        state: Any = read_tensors(file, checked=False)  # others' old files have no checksums
    except Exception as error:  # safetensors' own too
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise UserError(
            f"{file} could not be read as weights ({reason}); give a .pth or .safetensors file of tensors."
        ) from None
    for key in ("state_dict", "model", "method"):  # the last: a finished run's weights.pt
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(
            f"{file} holds no table of tensors; give a .pth or .safetensors file of an encoder's weights."
        )
    return {str(k).removeprefix("module."): v for k, v in state.items()}


def _within(state: dict[str, Tensor], trunk: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a trunk in the state of a whole method, as a finished run keeps it; else all."""
    wanted = list(trunk.state_dict())
    for start in (key.removesuffix(wanted[0]) for key in state if key.endswith(f".{wanted[0]}")):
        if all(start + name in state for name in wanted):
            return {name: state[start + name] for name in wanted}
    return state


def _torchvision_weights(name: str) -> dict[str, Tensor]:
    import torchvision.models

    weights: Any = torchvision.models.get_model_weights(name)["DEFAULT"]
    return _fetched(name, lambda: weights.get_state_dict(progress=False, check_hash=True), weights.url)


def _fetched(name: str, fetch: Callable[[], Any], where: str) -> Any:
    """What `fetch` downloads; a `UserError` says how to get it where there is no network."""
    try:
        return fetch()
    # URLError, HTTPError, OSError, a hash mismatch, the hub's own: all mean no weights.
    except Exception as error:
        raise UserError(
            f"the ImageNet weights of {name} could not be downloaded ({type(error).__name__}); fetch {where} "
            "where there is a network and set weights = 'PATH' of the file, or set weights = 'none'."
        ) from None


def _timm() -> Any:
    try:
        import timm
    except ImportError:
        cure = "install what this program depends on with `pip install -e .`"
        raise UserError(
            f"encoders 'timm:NAME' need the package timm, which is not installed; {cure}."
        ) from None
    return timm


def _vit(name: str, weights: str, file: Path | None, frozen: bool) -> ViTTrunk:
    """Build a plain transformer with its weights, at any size of images."""
    timm, options = _timm(), dict[str, Any](num_classes=0, dynamic_img_size=True)
    if not timm.is_model(name):
        raise unknown("timm model", name, timm.list_models())
    try:
        net = timm.create_model(name, pretrained=False, **options)
    except (AttributeError, RuntimeError, TypeError, AssertionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the timm model {name!r} is not built for images of any size ({reason}); choose another."
        ) from None
    if file is not None or weights == "imagenet":
        net = _pretrained(name, net, file, options)
    return ViTTrunk(net, name, frozen)


class TimmTrunk(Trunk):
    """Wrap any timm model with features at strides 4, 8, 16 and 32."""

    def __init__(self, name: str, weights: str, file: Path | None) -> None:
        """weights, file: as for `make_encoder`."""
        super().__init__()
        timm, imagenet = _timm(), weights == "imagenet"
        if not timm.is_model(name):
            raise unknown("timm model", name, timm.list_models())
        options = {"features_only": True}
        try:
            net = timm.create_model(name, pretrained=False, **options)
        except (AttributeError, RuntimeError) as error:
            raise UserError(
                f"the timm model {name!r} offers no feature maps ({error}); choose a convolutional one."
            ) from None
        if file is not None or imagenet:
            net = _pretrained(name, net, file, options)
        elif weights == "package":
            encoder = f"timm:{name}"
            state = packaged.read(encoder, timm.create_model(name, pretrained=False).state_dict())
            load_trunk(net, state, packaged.PACKAGES[encoder].name)
        reductions = net.feature_info.reduction()
        try:
            self.taken = [len(reductions) - 1 - reductions[::-1].index(stride) for stride in (4, 8, 16, 32)]
        except ValueError:
            raise UserError(
                f"the timm model {name!r} has strides {reductions}, not 4, 8, 16 and 32; choose another."
            ) from None
        quicken(net)
        self.net = net
        self.channels = tuple(net.feature_info.channels()[i] for i in self.taken)
        config = (
            net.pretrained_cfg if hasattr(net, "pretrained_cfg") else timm.get_pretrained_cfg(name).to_dict()
        )
        self.mean, self.std = tuple(config["mean"]), tuple(config["std"])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the four features."""
        features = self.net(images)
        return [features[i] for i in self.taken]


def _pretrained(name: str, net: Any, file: Path | None, options: dict[str, Any]) -> Any:
    """Return a timm model with its weights: of a file (timm's own or a finished run's), or of timm's hub."""
    timm, own = _timm(), {"pretrained": True, **options}
    if file is None:
        return _fetched(f"timm:{name}", lambda: timm.create_model(name, **own), "its file from timm's hub")
    state = read_state(file)
    if len(part := _within(state, net)) < len(state):  # of a finished run
        load_trunk(net, part, str(file))
        return net
    _check_timm_state(timm.create_model(name, pretrained=False), state, f"{file} does not fit", name)
    return timm.create_model(name, pretrained_cfg_overlay={"file": str(file)}, **own)


def _check_timm_state(classifier: Any, state: dict[str, Tensor], what: str, name: str) -> None:
    """Raise `UserError` unless a file has all but the classifier's tensors; timm loads what it finds."""
    head = classifier.pretrained_cfg["classifier"]
    heads = tuple(f"{h}." for h in ([head] if isinstance(head, str) else head))
    wanted = {k: v.shape for k, v in classifier.state_dict().items() if not k.startswith(heads)}
    missing = sorted(k for k, shape in wanted.items() if k not in state or state[k].shape != shape)
    if missing:
        more = f"{missing[0]} and {len(missing) - 1} more tensors are missing or of another shape"
        raise UserError(f"{what} timm's {name}: {more}; give that model's own weights.")
