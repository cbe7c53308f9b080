"""Which networks exist by name: the zoo, and whatever other packages add to it.

Another package adds an architecture by an entry point of the group
`automl_compress.architectures`, whose name is the architecture's name and whose object is an
`Architecture`. Nothing is imported before somebody asks for that name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from automl_compress.core.errors import InvalidInput, ModelInvalid, UnknownName, WeightsMismatch

ENTRY_POINT_GROUP = "automl_compress.architectures"

_ZOO = "automl_compress.networks.zoo"
_BUILT_IN = {
    "densenet-bc-100": f"{_ZOO}.densenet:DENSENET_BC_100",
    "lenet-300-100": f"{_ZOO}.lenet:LENET_300_100",
    "lenet-5": f"{_ZOO}.lenet:LENET_5",
    "mixnet-s": f"{_ZOO}.mixnet:MIXNET_S",
    "mobilenet-v1": f"{_ZOO}.mobilenet:MOBILENET_V1",
    "mobilenet-v2": f"{_ZOO}.mobilenet:MOBILENET_V2",
    "mobilenet-v2-1.4": f"{_ZOO}.mobilenet:MOBILENET_V2_14",
    "plain-20": f"{_ZOO}.plain:PLAIN_20",
    "resnet-20": f"{_ZOO}.resnet:RESNET_20",
    "resnet-32": f"{_ZOO}.resnet:RESNET_32",
    "resnet-44": f"{_ZOO}.resnet:RESNET_44",
    "resnet-56": f"{_ZOO}.resnet:RESNET_56",
    "squeezenet": f"{_ZOO}.squeezenet:SQUEEZENET",
    "vgg-16-bn": f"{_ZOO}.vgg:VGG_16_BN",
    "wide-resnet-28-10": f"{_ZOO}.wide_resnet:WIDE_RESNET_28_10",
}
_KEYS_SHOWN = 5


@dataclass(frozen=True)
class Architecture:
    """A family of networks that differ only by their config.

    Attributes:
        name: what users call it, `resnet-20` for instance.
        config: a frozen dataclass whose fields all have defaults, and whose `__post_init__`
            raises `InvalidInput` for a value it can't build.
        build: makes a freshly initialised network of a config.
        input_shape: the shape of one input of a config, (C, H, W) or (C,).
        minimum_size: the smallest image height and width, in pixels; 1 without images.
    """

    name: str
    config: type
    build: Callable[[Any], nn.Module]
    input_shape: Callable[[Any], tuple[int, ...]]
    minimum_size: int = 1

    def __post_init__(self) -> None:
        """Refuse what would only fail later, on somebody else's call."""
        if not is_dataclass(self.config):
            raise InvalidInput(
                f"the config of architecture {self.name!r} is {self.config!r}; it must be a frozen "
                "dataclass whose fields all have defaults"
            )

    def configure(self, values: Mapping[str, object] | None = None) -> Any:
        """Make the config of these field `values`; fields left out keep their defaults.

        Raises:
            InvalidInput: a field that the config doesn't have, or a value it doesn't allow.
        """
        values = dict(values or {})
        allowed = [field.name for field in fields(self.config)]
        unknown = sorted(str(name) for name in values if name not in allowed)
        if unknown:
            raise InvalidInput(
                f"{self.name} has no config field {', '.join(map(repr, unknown))}; its fields are: "
                f"{', '.join(allowed)}"
            )
        try:
            return self.config(**values)
        except InvalidInput:
            raise
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"{self.name} cannot be built with {values}: {error}") from error


_registered: dict[str, Architecture] = {}


def register(new: Architecture) -> None:
    """Make an architecture known by its name, for this process.

    Raises:
        InvalidInput: the name is taken.
    """
    if new.name in _BUILT_IN or new.name in _registered:
        raise InvalidInput(f"an architecture called {new.name!r} exists; choose another name")
    _registered[new.name] = new


def architecture_names() -> tuple[str, ...]:
    """Name every architecture, sorted; nothing is imported for it."""
    return tuple(sorted({*_BUILT_IN, *_registered, *entry_points(group=ENTRY_POINT_GROUP).names}))


def architecture(name: str) -> Architecture:
    """Look up an architecture.

    A built-in name can't be taken over by another package, and a package that fails to load
    fails only here, when its own name is asked for.

    Raises:
        UnknownName: nothing is registered under this name.
        InvalidInput: the package that offers it cannot be loaded, or two packages offer it.
    """
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        return getattr(import_module(module), attribute)
    if name in _registered:
        return _registered[name]
    offers = list(entry_points(group=ENTRY_POINT_GROUP, name=name))
    if not offers:
        raise UnknownName("architecture", name, architecture_names())
    if len(offers) > 1:
        raise InvalidInput(
            f"{len(offers)} packages offer an architecture called {name!r}: "
            f"{', '.join(map(_origin, offers))}; uninstall all but one"
        )
    return _load(offers[0])


def _load(offer: EntryPoint) -> Architecture:
    try:
        loaded = offer.load()
    except Exception as error:  # whatever somebody else's import raises
        raise InvalidInput(
            f"the architecture {offer.name!r} of {_origin(offer)} cannot be loaded: "
            f"{type(error).__name__}: {error}; repair or uninstall that package"
        ) from error
    if not isinstance(loaded, Architecture) or loaded.name != offer.name:
        raise InvalidInput(
            f"the entry point {offer.name!r} of {_origin(offer)} gives {loaded!r}; it must give an "
            "Architecture of the same name"
        )
    return loaded


def _origin(offer: EntryPoint) -> str:
    distribution = offer.dist.name if offer.dist is not None else "an unknown package"
    return f"{distribution} ({offer.value})"


def build_network(name: str, config: Mapping[str, object] | None = None) -> nn.Module:
    """Build a freshly initialised network from the global torch generator.

    Args:
        name: one of `architecture_names()`.
        config: values of config fields; those left out keep their defaults.

    Raises:
        UnknownName: no architecture goes by this name.
        InvalidInput: a config field that doesn't exist, or a value that isn't allowed.
    """
    chosen = architecture(name)
    return chosen.build(chosen.configure(config))


def load_weights(module: nn.Module, source: str | Path | Mapping[str, Tensor]) -> None:
    """Fill `module` with weights; on any error it stays as it was.

    `num_batches_tracked` of a batch normalisation may be missing, as files from before its
    invention, and files that only serve inference, lack it.

    Args:
        module: filled in place; weights of another float width are converted.
        source: a safetensors file, or a state dict.

    Raises:
        ModelInvalid: no such file, or it isn't safetensors.
        WeightsMismatch: keys or shapes differ, or a weight is NaN or infinite.
    """
    weights = dict(source) if isinstance(source, Mapping) else read_safetensors(Path(source))
    expected = module.state_dict()
    for key, value in expected.items():
        if key.endswith("num_batches_tracked"):
            weights.setdefault(key, torch.zeros_like(value))
    origin = "the weights" if isinstance(source, Mapping) else str(source)
    _check_keys(expected, weights, origin)
    _check_finite(weights, origin)
    module.load_state_dict(weights)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, by name; raises ModelInvalid."""
    try:
        return load_file(path)
    except OSError as error:
        raise ModelInvalid(
            f"the weights file {path} cannot be read ({error.strerror or error}); give the path of "
            "a safetensors file"
        ) from error
    except SafetensorError as error:
        raise ModelInvalid(
            f"{path} is not a safetensors file ({error}); save the state dict with "
            "safetensors.torch.save_file (pickled files are never read)"
        ) from error


def _check_keys(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor], origin: str) -> None:
    both = [key for key in expected if key in weights]
    complaints = {
        "missing": [key for key in expected if key not in weights],
        "unexpected": [key for key in weights if key not in expected],
        "of another shape": [
            f"{key} {tuple(weights[key].shape)} instead of {tuple(expected[key].shape)}"
            for key in both
            if weights[key].shape != expected[key].shape
        ],
        "of another type": [
            f"{key} {weights[key].dtype} instead of {expected[key].dtype}"
            for key in both
            if weights[key].is_floating_point() != expected[key].is_floating_point()
        ],
    }
    found = [f"{len(keys)} {what}: {_first(keys)}" for what, keys in complaints.items() if keys]
    if found:
        raise WeightsMismatch(
            f"{origin} does not fit the network ({'; '.join(found)}); choose the architecture and "
            "config that the weights were made with"
        )


def _check_finite(weights: Mapping[str, Tensor], origin: str) -> None:
    broken = [
        key
        for key, value in weights.items()
        if value.is_floating_point() and not bool(torch.isfinite(value.float()).all())
    ]
    if broken:
        raise WeightsMismatch(
            f"{origin} holds NaN or infinity in {len(broken)} tensors: {_first(broken)}; every "
            "weight must be finite: save the network from a training run that did not diverge"
        )


def _first(keys: list[str]) -> str:
    shown = ", ".join(keys[:_KEYS_SHOWN])
    return shown if len(keys) <= _KEYS_SHOWN else f"{shown}, ..."
