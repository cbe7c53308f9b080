"""The zoo against published numbers, and the ways in which a name or a file can be wrong."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from automl_compress.core.errors import (
    InvalidInput,
    ModelInvalid,
    UnknownName,
    WeightsMismatch,
)
from automl_compress.networks import architectures
from automl_compress.networks.architectures import (
    Architecture,
    architecture,
    architecture_names,
    build_network,
    load_weights,
    register,
)

# name: (parameters, MACs) with as many classes as it has unless told.
PUBLISHED = {
    # LeCun et al. 1998: 266,610; one MAC a weight.
    "lenet-300-100": (266_610, 266_200),
    # Caffe's LeNet: 431,080, by hand 520 + 25,050 + 400,500 + 5,010.
    "lenet-5": (431_080, 2_293_000),
    # He et al. 2016, table 6: 0.27, 0.46, 0.66, 0.85 M parameters.
    # Li et al. 2017, table 1: 1.25e8 operations of ResNet-56.
    "plain-20": (269_722, 40_551_040),
    "resnet-20": (269_722, 40_551_040),
    "resnet-32": (464_154, 68_862_592),
    "resnet-44": (658_586, 97_174_144),
    "resnet-56": (853_018, 125_485_696),
    # Li et al. 2017, table 1: 313 M; 15.0 M parameters with one more linear layer, so 14.72 M.
    "vgg-16-bn": (14_724_042, 313_201_664),
    # 4,231,976 less 990 classes of 1,025 parameters.
    "mobilenet-v1": (3_217_226, 46_354_432),
    # Tan and Le 2019, table 2: 4.1 M; their 256 M operations count more than convolutions do, which
    # the test of MicroNet's rules shows.
    "mixnet-s": (4_134_606, 239_173_360),
    # 3,504,872 less 990 classes of 1,281 parameters.
    "mobilenet-v2": (2_236_682, 87_976_448),
    # The rules of MicroNet 2019 have 1,170 M operations, two for a MAC. Their 6.9 M parameters are
    # those of Sandler et al. 2018, table 4, of which the layers of its table 2 have 6.11 M.
    "mobilenet-v2-1.4": (6_108_776, 582_195_824),
    # Zagoruyko and Komodakis 2016, table 1: 36.5 M parameters, with 100 classes; the rules of
    # MicroNet 2019: 10.49 G operations, two for a MAC.
    "wide-resnet-28-10": (36_479_194, 5_243_328_768),
    # 1,235,496 less 990 classes of 513 parameters.
    "squeezenet": (727_626, 23_511_040),
    # Huang et al. 2017, table 2: 0.8 M; 769,162 is what its authors' code counts.
    "densenet-bc-100": (769_162, 287_929_692),
}


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def random_images(name: str, batch: int, **config: object) -> tuple[nn.Module, torch.Tensor]:
    chosen = architecture(name)
    configured = chosen.configure(config)
    images = torch.randn(batch, *chosen.input_shape(configured))
    return chosen.build(configured), images


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_macs_are_the_published_ones(name: str) -> None:
    network, images = random_images(name, 1)

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        logits = network.eval()(images)

    assert logits.shape == (1, architecture(name).configure().num_classes)
    assert parameter_count(network) == PUBLISHED[name][0]
    assert counter.get_total_flops() == 2 * PUBLISHED[name][1]


# The ImageNet forms, which differ from ours in strides only: V1 as Keras counts its trainable
# parameters, the others as torchvision documents them.
@pytest.mark.parametrize(
    ("name", "parameters"),
    [("mobilenet-v1", 4_231_976), ("mobilenet-v2", 3_504_872), ("squeezenet", 1_235_496)],
)
def test_thousand_classes_give_the_published_parameters(name: str, parameters: int) -> None:
    network = build_network(name, {"num_classes": 1000})

    assert parameter_count(network) == parameters


def test_every_built_in_name_is_tested_here() -> None:
    assert set(PUBLISHED) <= set(architecture_names())


@pytest.mark.parametrize("name", PUBLISHED)
def test_smallest_image_can_be_trained_on(name: str) -> None:
    network, images = random_images(name, 2, image_size=architecture(name).minimum_size)

    network.train()(images).sum().backward()

    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_one_pixel_less_than_the_smallest_image_is_refused(name: str) -> None:
    size = architecture(name).minimum_size - 1

    with pytest.raises(InvalidInput, match=f"image_size is {size}; give a whole number from"):
        build_network(name, {"image_size": size})


@pytest.mark.parametrize("name", ["resnet-20", "mobilenet-v2", "squeezenet", "lenet-5"])
def test_network_exports_with_any_batch_size(name: str) -> None:
    network, images = random_images(name, 3)
    network.eval()

    exported = torch.export.export(
        network, (images[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )

    torch.testing.assert_close(exported.module()(images), network(images))


def test_width_multiplier_narrows_every_layer() -> None:
    half = build_network("mobilenet-v1", {"width_multiplier": 0.5})
    widths = [layer.out_channels for layer in half.modules() if isinstance(layer, nn.Conv2d)]

    assert widths[0] == 16
    assert widths[-1] == 512


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"classes": 5}, "no config field 'classes'; its fields are: in_channels, num_classes"),
        ({"num_classes": 1}, "num_classes is 1; give a whole number from 2"),
        ({"num_classes": "10"}, "num_classes is '10'"),
        ({"in_channels": True}, "in_channels is True"),
        ({"width_multiplier": float("nan")}, "width_multiplier is nan; give a number from 0.1"),
        ({"width_multiplier": "1"}, "width_multiplier is '1'"),
    ],
)
def test_wrong_config_is_refused_by_field(values: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        build_network("mobilenet-v2", values)


def test_unknown_architecture_lists_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"'resnet-21'; choose one of: densenet-bc-100, .*vgg"):
        build_network("resnet-21")


@dataclass(frozen=True)
class TinyConfig:
    width: int = 2

    def __post_init__(self) -> None:
        if self.width < 0:
            raise ValueError("too narrow")


def tiny(name: str) -> Architecture:
    return Architecture(
        name, TinyConfig, lambda config: nn.Linear(config.width, 2), lambda config: (config.width,)
    )


TINY_PLUGIN = tiny("tiny-plugin")


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three packages: a good one, one that can't be imported, one that gives something else."""
    group = architectures.ENTRY_POINT_GROUP
    offers = EntryPoints(
        [
            EntryPoint("tiny-plugin", "good", group),
            EntryPoint("broken", "automl_compress_absent:NETWORK", group),
            EntryPoint("wrong", "json:dumps", group),
        ]
    )
    original = EntryPoint.load
    monkeypatch.setattr(architectures, "entry_points", lambda **query: offers.select(**query))
    monkeypatch.setattr(
        EntryPoint,
        "load",
        lambda self: TINY_PLUGIN if self.value == "good" else original(self),
    )


@pytest.mark.usefixtures("plugins")
def test_plugin_is_found_beside_broken_ones() -> None:
    assert {"broken", "tiny-plugin", "lenet-5"} <= set(architecture_names())
    assert build_network("tiny-plugin", {"width": 3})(torch.zeros(1, 3)).shape == (1, 2)


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("name", "message"),
    [("broken", "cannot be loaded: ModuleNotFoundError"), ("wrong", "must give an Architecture")],
)
def test_broken_plugin_is_reported_when_used(name: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        architecture(name)


def test_registered_architecture_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architectures, "_registered", {})

    register(tiny("tiny-registered"))

    assert "tiny-registered" in architecture_names()
    with pytest.raises(InvalidInput, match="exists; choose another name"):
        register(tiny("tiny-registered"))
    with pytest.raises(InvalidInput, match=r"cannot be built with .*too narrow"):
        build_network("tiny-registered", {"width": -1})


def test_built_in_name_cannot_be_registered() -> None:
    with pytest.raises(InvalidInput, match="exists"):
        register(tiny("lenet-5"))


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_published_checkpoint_fits_resnet(depth: int, shared_data: Path) -> None:
    network = build_network(f"resnet-{depth}")

    load_weights(network, shared_data / "cifar10-resnet" / f"resnet{depth}.safetensors")


def test_resnet_state_dict_has_the_published_keys() -> None:
    keys = {key.rpartition(".")[0] for key in build_network("resnet-20").state_dict()}
    blocks = {
        f"layer{stage}.{block}.{kind}{number}"
        for stage in (1, 2, 3)
        for block in range(3)
        for kind in ("conv", "bn")
        for number in (1, 2)
    }

    assert keys == {"conv1", "bn1", "linear"} | blocks


@pytest.fixture
def lenet() -> nn.Module:
    return build_network("lenet-5")


def test_weights_round_trip(lenet: nn.Module, tmp_path: Path) -> None:
    other = build_network("lenet-5")
    save_file(other.state_dict(), tmp_path / "weights.safetensors")

    load_weights(lenet, tmp_path / "weights.safetensors")

    torch.testing.assert_close(lenet.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_file_that_is_not_safetensors_is_refused(lenet: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"PK\x03\x04 a pickled archive")

    with pytest.raises(ModelInvalid, match=r"weights.pt is not a safetensors file"):
        load_weights(lenet, tmp_path / "weights.pt")
    with pytest.raises(ModelInvalid, match=r"absent.safetensors cannot be read"):
        load_weights(lenet, tmp_path / "absent.safetensors")


def test_weights_of_another_architecture_name_five_keys(lenet: nn.Module) -> None:
    before = {key: value.clone() for key, value in lenet.state_dict().items()}
    other = build_network("resnet-20").state_dict()

    with pytest.raises(
        WeightsMismatch, match=r"7 missing: conv1.bias, .*unexpected: bn1"
    ) as caught:
        load_weights(lenet, other)

    assert "conv1.weight (16, 3, 3, 3) instead of (20, 1, 5, 5)" in str(caught.value)
    torch.testing.assert_close(lenet.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(lenet: nn.Module, value: float) -> None:
    weights = {key: each.clone() for key, each in lenet.state_dict().items()}
    weights["fc1.bias"][3] = value

    with pytest.raises(WeightsMismatch, match=r"NaN or infinity in 1 tensors: fc1.bias"):
        load_weights(lenet, weights)


def test_integer_weights_are_refused(lenet: nn.Module) -> None:
    weights = lenet.state_dict() | {"fc1.bias": torch.zeros(500, dtype=torch.int64)}

    with pytest.raises(WeightsMismatch, match=r"1 of another type: fc1.bias"):
        load_weights(lenet, weights)
