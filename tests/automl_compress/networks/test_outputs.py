"""Networks of several outputs: one is scored, all are traced, cut and kept."""

import copy
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_compress import export_network
from automl_compress.compress.apply import apply_policy
from automl_compress.compress.criteria import channel_scores, criterion_names
from automl_compress.core import SpaceOptions
from automl_compress.core.decision import decisions_of
from automl_compress.core.document import PolicyDocument
from automl_compress.core.errors import ModelInvalid
from automl_compress.evaluate.candidates import ProgramCandidates, half_of
from automl_compress.networks.describe import logit_count
from automl_compress.networks.outputs import (
    every_output,
    output_shapes,
    select_output,
    selected_output,
    with_every_output,
)
from automl_compress.networks.program_file.reading import read_program
from automl_compress.networks.surgery import cut_module
from automl_compress.networks.trace import trace
from tests.api.strangers import TwoOutputs
from tests.automl_compress.export.conftest import NEEDS_ONNX
from tests.automl_compress.export.test_documents import write
from tests.automl_compress.networks.program_file.networks import program_of

SHAPE = TwoOutputs.input_shape


def two_outputs() -> nn.Module:
    torch.manual_seed(0)
    return TwoOutputs().eval()


def from_program() -> nn.Module:
    return read_program(program_of(two_outputs(), SHAPE)).module


def alike(found: Iterable[Tensor], expected: Iterable[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def batch() -> Tensor:
    return torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(1))


class Returning(nn.Module):
    """Returns what it is told to make of a map."""

    def __init__(self, made: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.layer, self.made = nn.Conv2d(3, 4, 3), made

    def forward(self, images: Tensor) -> object:
        return self.made(self.layer(images))


def test_the_selected_output_is_the_networks_and_all_others_are_kept() -> None:
    network = two_outputs()

    chosen = select_output(network, SHAPE, 1)

    told = network(batch())
    assert torch.equal(chosen(batch()), told["other"])
    assert alike(every_output(chosen, batch()), told.values())
    assert torch.equal(with_every_output(chosen)(batch())["main"], told["main"])
    assert list(chosen.state_dict()) == list(network.state_dict())
    assert (selected_output(network), selected_output(chosen)) == (None, 1)
    assert logit_count(chosen, SHAPE) == 5


def test_the_selection_survives_copies_and_goes_to_other_processes() -> None:
    chosen = select_output(two_outputs(), SHAPE, 1)
    sent = pickle.loads(pickle.dumps(chosen))  # noqa: S301 - its own

    for each in (copy.deepcopy(chosen), sent):
        hook = each.register_forward_hook(lambda module, arguments, output: None)
        assert torch.equal(each(batch()), chosen(batch()))  # torch's own number took no place
        hook.remove()
        assert selected_output(each) == 1


def test_another_selection_takes_the_place_of_the_first() -> None:
    first = select_output(two_outputs(), SHAPE, 0)

    assert selected_output(select_output(first, SHAPE, 1)) == 1
    assert selected_output(first) == 0


def test_a_network_of_one_output_stays_itself() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(360, 3))

    assert select_output(network, SHAPE) is network


@pytest.mark.parametrize("made", [lambda x: [x.mean((2, 3))], lambda x: {"only": x.mean((2, 3))}])
def test_one_output_in_a_list_or_dict_is_taken_out(made: Callable[[Tensor], object]) -> None:
    assert select_output(Returning(made), SHAPE)(batch()).shape == (5, 4)


REFUSED: dict[str, tuple[Callable[[Tensor], object], int, str]] = {
    "out of range": (
        lambda x: (x.mean((2, 3)), [x]),
        2,
        r"no output 2; its outputs are: 0 \(B, 4\), 1 \(B, 4, 8, 10\)",
    ),
    "of one": (lambda x: x.mean((2, 3)), 1, r"no output 1; its one output is 0 \(B, 4\)"),
    "no logits": (lambda x: (x, x.mean((1, 2, 3))), 1, "output 1 holds one number for each image"),
    "no tensor": (lambda x: (x, 3), 0, "output 1 of the network is a int"),
    "nothing": (lambda x: (), 0, "the network returns nothing"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_output_that_cannot_be_scored_is_refused_with_the_list(case: str) -> None:
    made, output, says = REFUSED[case]

    with pytest.raises(ModelInvalid, match=says):
        select_output(Returning(made), SHAPE, output)


@pytest.mark.parametrize("use", [trace, logit_count])
def test_without_a_selection_the_outputs_are_named(use: Callable[..., object]) -> None:
    with pytest.raises(ModelInvalid, match=r"0 \(B, 4\), 1 \(B, 5\): say with select_output"):
        use(two_outputs(), SHAPE)


def test_a_program_gives_what_the_class_gives_in_its_order() -> None:
    program = from_program()

    assert output_shapes(program, SHAPE) == ((4,), (5,))
    assert alike(program(batch()), every_output(two_outputs(), batch()))


@pytest.mark.parametrize("build", [two_outputs, from_program])
def test_all_outputs_are_traced_and_layers_of_others_stay_whole(
    build: Callable[[], nn.Module],
) -> None:
    first = trace(select_output(build(), SHAPE, 0), SHAPE).graph
    second = trace(select_output(build(), SHAPE, 1), SHAPE).graph

    assert [group.name for group in first.groups] == ["first", "second"]
    assert first.groups[1].consumers == ("classifier", "hidden")
    assert first.unscored == ("hidden", "other")
    (told,) = [each for each in first.obstacles if each.layers == ("hidden",)]
    assert told.reason == "no output that accuracy is measured on depends on it"
    assert [group.name for group in second.groups] == ["first", "second", "hidden"]
    assert second.unscored == ("classifier",)
    assert first.fingerprint == second.fingerprint


def test_layers_of_other_outputs_stay_float_and_the_last_scored_one_is_the_edge() -> None:
    graph = trace(select_output(two_outputs(), SHAPE), SHAPE).graph
    options = SpaceOptions(schemes=("channel", "element"), weight_bits=(2, 4))

    found = [each for each in decisions_of(graph, options) if each.kind == "weight_bits"]

    names = [f"weight_bits.{each}" for each in ("first", "second", "classifier")]
    assert [each.name for each in found] == names
    assert found[-1].allowed == (8,)


def in_place() -> nn.Module:
    """The same with activations that nothing may leave out, as they change their input."""

    class InPlace(TwoOutputs):
        def forward(self, images: Tensor) -> dict[str, Tensor]:
            x = F.relu_(self.second(F.relu_(self.norm(self.first(images))))).mean((2, 3))
            return {"main": self.classifier(x), "other": self.other(F.relu_(self.hidden(x)))}

    torch.manual_seed(0)
    return InPlace().eval()


@pytest.mark.parametrize("output", [0, 1])
@pytest.mark.parametrize("build", [two_outputs, from_program, in_place])
def test_every_output_of_a_cut_network_is_computed_and_the_program_scores_one(
    build: Callable[[], nn.Module], output: int
) -> None:
    network = trace(select_output(build(), SHAPE, output), SHAPE)
    half = half_of(network)
    cut = cut_module(network.module, network.plan, half.kept)

    forward = ProgramCandidates(network).of(half)
    scored = forward(batch()), forward.logits([batch()]), forward.logits([batch()])

    outputs = every_output(cut, batch())
    assert [each.shape for each in outputs] == [(5, 4), (5, 5)]
    for each in scored:
        torch.testing.assert_close(each, outputs[output], rtol=1e-4, atol=1e-5)
    weights = {f"{name}.weight" for name in network.graph.unscored}
    whole = network.module.state_dict()
    assert all(len(cut.state_dict()[name]) == len(whole[name]) for name in weights)


@pytest.mark.parametrize("criterion", criterion_names())
def test_every_criterion_scores_its_channels(criterion: str) -> None:
    network = trace(select_output(two_outputs(), SHAPE), SHAPE)

    scores = channel_scores(network, criterion, [(batch(), torch.arange(5) % 4)])

    assert [len(each) for each in scores] == [8, 12]
    assert all(float(each.abs().max()) > 0 for each in scores)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PolicyDocument]:
    folder = tmp_path_factory.mktemp("two")
    _, document = write(trace(select_output(two_outputs(), SHAPE, 1), SHAPE), folder, "two")
    return folder, document


def test_a_policy_says_which_output_its_figures_are_of(
    written: tuple[Path, PolicyDocument],
) -> None:
    folder, document = written

    assert document.model.output == 1
    assert PolicyDocument.from_json(document.to_json()).model.output == 1
    small = apply_policy(two_outputs(), document, folder / "network.safetensors")
    assert list(small(batch())) == ["main", "other"]


@NEEDS_ONNX
def test_programs_hold_all_outputs_and_onnx_files_the_scored_one(
    written: tuple[Path, PolicyDocument], tmp_path: Path
) -> None:
    from automl_compress.export.sessions import onnxruntime_session

    folder, document = written
    small = apply_policy(two_outputs(), document, folder / "network.safetensors")

    program, onnx, _ = (
        export_network(small, document, tmp_path / f"small.{suffix}").files[-1]
        for suffix in ("pt2", "onnx", "safetensors")
    )

    expected = every_output(small, batch())
    with torch.no_grad():
        found = read_program(program).module(batch())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    logits = onnxruntime_session(onnx.read_bytes()).run(batch().numpy())
    torch.testing.assert_close(torch.from_numpy(logits), expected[1], rtol=1e-4, atol=1e-5)
    card = (tmp_path / "small.md").read_text()
    assert "Accuracy is that of output 1, which ONNX" in card
