"""The shared program computes what the cut module computes."""

import pickle

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_compress.compress.candidate import cut_network
from automl_compress.compress.input_grids import InputGrids
from automl_compress.compress.recalibration import recalibrate
from automl_compress.compress.reconstruction import Reconstruction
from automl_compress.core import LayerChoice
from automl_compress.evaluate.bank import ParameterBank
from automl_compress.evaluate.candidate import Candidate
from automl_compress.evaluate.candidates import (
    ModuleCandidates,
    ProgramCandidates,
    candidates_of,
)
from automl_compress.evaluate.openvino_candidates import OpenVinoCandidates
from automl_compress.evaluate.program import Program, compile_program
from automl_compress.export.engines import is_installed
from automl_compress.export.sessions import OPENVINO
from automl_compress.networks.trace import Network, trace
from tests.automl_compress.networks import topologies as made
from tests.automl_compress.networks import zoo
from tests.automl_compress.networks.counting import random_kept, relative_difference, settled

IMAGE = (3, 8, 8)


def of(module: nn.Module, input_shape: tuple[int, ...] = IMAGE) -> Network:
    return trace(settled(module, input_shape), input_shape)


def batches(network: Network, count: int = 2) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(4)
    shape = network.graph.input_shape
    labels = torch.zeros(16, dtype=torch.int64)
    return [(torch.randn(16, *shape, generator=generator), labels) for _ in range(count)]


def assert_same(
    network: Network,
    rng: np.random.Generator,
    repair: Reconstruction | None = None,
    *,
    in_openvino: bool = True,
) -> None:
    programs = ProgramCandidates(network, repair)
    modules = ModuleCandidates(network, repair)
    images = torch.randn(5, *network.graph.input_shape)
    # Few calibration images leave outputs of little variance, which a norm then amplifies.
    tolerance = 2e-5 if repair is None else 2e-4

    for _ in range(2):
        kept = random_kept(network.plan, rng)
        with torch.inference_mode():
            expected = modules.of(Candidate(kept))(images)
            assert relative_difference(programs.of(Candidate(kept))(images), expected) < tolerance
            own = programs.of_module(cut_network(network, kept, repair), {})
            assert relative_difference(own(images), expected) < tolerance
            if in_openvino and is_installed(OPENVINO):
                way = OpenVinoCandidates(programs, len(images), images.shape[1:])
                forward = way.of(Candidate(kept))
                assert relative_difference(forward(images), expected) < tolerance
                assert relative_difference(forward(images[:2]), expected[:2]) < tolerance


# With the networks, so that no other network gets the identity of one of them.
compiled_before: dict[tuple[int, bool], tuple[Network, Program]] = {}


def compiled(network: Network, *, rounds_inputs: bool = False) -> Program:
    """Compile a network's program, or take the one of an earlier test."""
    key = id(network), rounds_inputs
    if key not in compiled_before:
        program = compile_program(network, rounds_inputs=rounds_inputs)
        compiled_before[key] = network, program
    return compiled_before[key][1]


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile each network once for all tests: it takes most of their time."""
    monkeypatch.setattr("automl_compress.evaluate.candidates.compile_program", compiled)


SLOW_TO_EXPORT = {"densenet-bc-100"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW_TO_EXPORT)) for n in zoo.NAMES],
)
def test_program_of_every_zoo_network(name: str, rng: np.random.Generator) -> None:
    assert_same(zoo.traced(name), rng)


@pytest.mark.parametrize("name", ["densenet-bc-100", "mixnet-s", "mobilenet-v2", "resnet-20"])
def test_a_program_that_was_sent_computes_the_same_bits(name: str) -> None:
    network = zoo.traced(name)
    program = compiled(network)
    sent: Program = pickle.loads(pickle.dumps(program))  # noqa: S301 - ours
    kept = Candidate([torch.arange(channels) for channels in network.plan.channels])
    images = torch.randn(5, *network.graph.input_shape)

    assert (sent.inputs, sent.folded) == (program.inputs, program.folded)
    with torch.inference_mode():
        here, there = (
            ProgramCandidates(network, program=each).of(kept)(images) for each in (program, sent)
        )
    assert torch.equal(here, there)


@pytest.mark.parametrize("name", ["lenet-5", "resnet-20", "mobilenet-v2", "squeezenet"])
def test_program_with_reconstruction(name: str, rng: np.random.Generator) -> None:
    network = zoo.traced(name)

    assert_same(network, rng, Reconstruction(network, batches(network)))


class BiasThenNorm(nn.Module):
    """Convolutions that have a bias although a norm follows."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.linear = nn.Linear(6, 4)
        nn.init.uniform_(self.second.get_parameter("bias"), 1.0, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.second(self.first(x).relu())).relu()
        return self.linear(x.mean((2, 3)))


class InPlace(nn.Module):
    """Overwrites what a second name still reads."""

    def __init__(self) -> None:
        super().__init__()
        self.first = made.convolution(3, 8, bias=True)
        self.second = made.convolution(8, 8, bias=True)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        before = self.first(x)
        rectified = torch.relu_(before)
        total = rectified + self.second(rectified)
        return self.linear((total + before).mean((2, 3)))


class Sums(nn.Module):
    """Sums in both orders, with a factor, of images and of branches."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = made.convolution(3, 3), made.convolution(3, 3)
        self.third, self.fourth = made.convolution(3, 6), made.convolution(6, 6)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.add(x, self.first(x), alpha=2.0) - x
        x = x + self.second(x)
        x = self.third(x).clamp_min(0)
        return self.linear((x + self.fourth(x) + x).mean((2, 3)))


class SamePadding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding="same", bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding="same", groups=8)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.norm(self.first(x)).relu())
        return self.linear(x.mean((2, 3)))


class PlainNorm(nn.Module):
    """A norm without scale and shift."""

    def __init__(self) -> None:
        super().__init__()
        self.first = made.convolution(3, 8)
        self.norm = nn.BatchNorm2d(8, affine=False)
        self.linear = nn.Linear(8, 4)
        self.norm.running_var.fill_(3.0)
        self.norm.running_mean.fill_(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(self.first(x)).relu().mean((2, 3)))


ODD = {
    "bias before norm": BiasThenNorm,
    "in place": InPlace,
    "sums": Sums,
    "same padding": SamePadding,
    "identity": lambda: made.Classifier(made.Residual("identity"), 8),
    "grouped residual": lambda: made.Classifier(made.Residual("identity", groups=2), 8),
    "depthwise with a multiplier": made.depthwise_multiplier,
    "used twice": lambda: made.Classifier(made.UsedTwice(), 6),
    "concatenation": lambda: made.Classifier(made.Concatenation(), 8),
    "squeeze and excite": lambda: made.Classifier(made.SqueezeExcite(), 6),
    "PReLU": made.rectified_by_parameters,
    "a learned scale": lambda: made.Classifier(made.ScaledBranch(), 6),
    "flatten": lambda: made.Flattened(8, 8),
    "group norm": lambda: made.between(nn.GroupNorm(2, 8)),
    "transposed convolution": lambda: made.between(nn.ConvTranspose2d(8, 8, 2, 2)),
    "layers called by name": lambda: made.Classifier(made.CalledByName(), 6),
}


STAY_IN_TORCH = {
    "group norm",
    "transposed convolution",
    "layers called by name",
}  # operators that are not translated


@pytest.mark.parametrize("name", ODD)
def test_program_of_odd_networks(name: str, rng: np.random.Generator) -> None:
    network, in_openvino = of(ODD[name]()), name not in STAY_IN_TORCH

    assert_same(network, rng, in_openvino=in_openvino)
    repair = Reconstruction(network, batches(network))
    assert_same(network, rng, repair, in_openvino=in_openvino)


def test_program_in_one_dimension(rng: np.random.Generator) -> None:
    network = of(made.one_dimensional(), (2, 20))

    assert_same(network, rng)
    assert_same(network, rng, Reconstruction(network, batches(network)))


def test_program_of_a_norm_without_scale(rng: np.random.Generator) -> None:
    network = trace(PlainNorm(), IMAGE)

    assert_same(network, rng)


def test_program_takes_over_recalibrated_norms(rng: np.random.Generator) -> None:
    network = of(made.Classifier(made.Residual("option A"), 12))
    cut = cut_network(network, random_kept(network.plan, rng))
    recalibrate(cut, batches(network))
    images = torch.randn(5, *IMAGE)

    with torch.inference_mode():
        found = candidates_of(network).of_module(cut, {})(images)

        assert relative_difference(found, cut(images)) < 1e-5


def test_images_are_not_overwritten(rng: np.random.Generator) -> None:
    network = of(Sums())
    images = torch.randn(5, *IMAGE)
    before = images.clone()

    with torch.inference_mode():
        candidates_of(network).of(Candidate(random_kept(network.plan, rng)))(images)

    assert torch.equal(images, before)


def test_a_network_that_cannot_be_exported_is_scored_module_by_module(
    rng: np.random.Generator,
) -> None:
    network = of(made.Classifier(made.DataDependent(), 6))
    candidates = candidates_of(network)
    kept = random_kept(network.plan, rng)
    images = torch.randn(5, *IMAGE)

    assert isinstance(candidates, ModuleCandidates)
    with torch.inference_mode():
        found = candidates.of(Candidate(kept))(images)
        assert torch.equal(found, cut_network(network, kept)(images))


def test_the_program_is_chosen_where_it_agrees() -> None:
    assert isinstance(candidates_of(of(made.grouped(2))), ProgramCandidates)


def test_a_program_that_differs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    network = of(made.grouped(2))
    monkeypatch.setattr(
        "automl_compress.evaluate.candidates.difference_on_half", lambda *_: float("nan")
    )

    assert isinstance(candidates_of(network), ModuleCandidates)


def test_shortcuts_are_summed_inside_the_convolution() -> None:
    # Either order of the terms; it saves a tenth of the forward pass and more.
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this build of torch has no oneDNN to fuse with")
    for name, shortcuts in (("resnet-20", 9), ("mobilenet-v2", 10)):
        targets = [str(node.target) for node in compiled(zoo.traced(name)).module.graph.nodes]
        assert sum("_convolution_pointwise.binary" in each for each in targets) == shortcuts


@pytest.mark.parametrize("name", ["resnet-20", "mobilenet-v2"])
def test_weights_are_bound_in_the_layout_that_convolutions_read(
    name: str, rng: np.random.Generator
) -> None:
    # In another layout every batch would copy every weight.
    network = zoo.traced(name)
    bound = ParameterBank(network, compiled(zoo.traced(name))).bind(
        Candidate(random_kept(network.plan, rng))
    )

    weights = [tensor for tensor in bound if tensor.dim() == 4]
    assert weights
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)


# -------------------------------------------------------------- sparse and quantised layers


def random_layers(
    network: Network, rng: np.random.Generator, activation_bits: tuple[int, ...]
) -> dict[str, LayerChoice]:
    names = [layer.name for layer in network.graph.layers if layer.kind != "other"]
    kinds = [(0.0, 1), *((sparsity, bits) for sparsity in (0.0, 0.5) for bits in (2, 4, 8, 16, 32))]
    found: dict[str, LayerChoice] = {}
    for name in names:
        sparsity, bits = kinds[int(rng.integers(len(kinds)))]
        if rng.random() < 0.8:
            rounded = int(rng.choice(activation_bits))
            scales = "tensor" if bits > 1 and rng.random() < 0.3 else "channel"
            found[name] = LayerChoice(name, sparsity, bits, rounded, weight_scales=scales)
    return found


QUANTISED_NETWORKS = ["lenet-5", "resnet-20", "mobilenet-v2", "squeezenet"]


@pytest.mark.parametrize("repaired", [False, True])
@pytest.mark.parametrize("name", QUANTISED_NETWORKS)
def test_quantised_weights_are_the_same_in_program_and_module(
    name: str, repaired: bool, rng: np.random.Generator
) -> None:
    network = zoo.traced(name)
    repair = Reconstruction(network, batches(network), 0) if repaired else None
    programs, modules = ProgramCandidates(network, repair), ModuleCandidates(network, repair)
    images = torch.randn(5, *network.graph.input_shape)

    for _ in range(2):
        candidate = Candidate(random_kept(network.plan, rng), random_layers(network, rng, (32,)))
        with torch.inference_mode():
            expected = modules.of(candidate)(images)
            found = programs.of(candidate)(images)
            own = programs.of_module(cut_network(network, candidate.kept, repair), candidate.layers)
            # A weight between two codes may take the other one after another rounding error.
            assert relative_difference(found, expected) < 5e-3
            assert relative_difference(own(images), expected) < 5e-3


@pytest.mark.parametrize("name", [*QUANTISED_NETWORKS, "layers called by name"])
def test_rounded_inputs_are_the_same_in_program_and_module(
    name: str, rng: np.random.Generator
) -> None:
    network = of(ODD[name]()) if name in ODD else zoo.traced(name)
    layers = [layer.name for layer in network.graph.layers if layer.kind != "other"]
    grids = InputGrids(network.module, layers, batches(network))
    programs = ProgramCandidates(network, grids=grids)
    modules = ModuleCandidates(network, grids=grids)
    images = torch.from_numpy(rng.normal(size=(20, *network.graph.input_shape))).float()

    for bits in ((8, 16, 32), (2, 4)):
        candidate = Candidate(random_kept(network.plan, rng), random_layers(network, rng, bits))
        plain = Candidate(candidate.kept)
        with torch.inference_mode():
            expected = modules.of(candidate)(images)
            found = programs.of(candidate)(images)
            away = (modules.of(plain)(images) - expected).square().mean()
        # Inputs between two codes fall either way, and the next layers spread it.
        assert (found - expected).square().mean() < 0.02 * away


def test_a_prefix_is_run_again_where_only_bits_changed() -> None:
    network = zoo.traced("resnet-20")
    programs = ProgramCandidates(network)
    kept = [torch.arange(channels) for channels in network.plan.channels]
    images = [torch.randn(4, *network.graph.input_shape)]
    first = next(layer.name for layer in network.graph.layers if layer.kind != "other")

    def logits(bits: int) -> Tensor:
        layers = {first: LayerChoice(first, weight_bits=bits)}
        with torch.inference_mode():
            return programs.of(Candidate(kept, layers)).logits(images)

    four = logits(4)
    assert torch.equal(logits(4), four)
    assert torch.equal(logits(4), four)  # from behind a prefix that is known by now
    assert not torch.equal(logits(2), four)
    assert torch.equal(logits(4), four)
