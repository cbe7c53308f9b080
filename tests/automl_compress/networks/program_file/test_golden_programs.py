"""Programs of every kind of network, read back: equal logits, live modules, cuttable channels."""

import copy
import gzip
import pickle
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_compress.export.onnx_file import export_program
from automl_compress.networks.program_file.reading import Program, read_program
from automl_compress.networks.surgery import cut_module, masked_module
from automl_compress.networks.trace import Network, trace
from tests.automl_compress.networks.counting import random_kept
from tests.automl_compress.networks.program_file.golden import FOLDER, KINDS
from tests.automl_compress.networks.program_file.networks import GOLDEN, program_of, settled


@dataclass(frozen=True)
class Read:
    original: nn.Module
    content: bytes
    program: Program
    network: Network


@cache
def read(name: str) -> Read:
    torch.manual_seed(0)
    golden = GOLDEN[name]
    original = settled(golden.build())
    content = program_of(original, golden.shape)
    program = read_program(content)
    return Read(original, content, program, trace(program.module, golden.shape))


def images_of(name: str, count: int = 4) -> Tensor:
    return torch.randn(count, *GOLDEN[name].shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", KINDS)
def test_files_of_every_torch_so_far_load_into_the_class_they_came_from(name: str) -> None:
    files = sorted(FOLDER.glob(f"{name.lower().replace(' ', '-')}.torch-*.pt2.gz"))
    assert files
    for file in files:
        program, network = read_program(gzip.decompress(file.read_bytes())), GOLDEN[name].build()

        network.eval().load_state_dict(program.module.state_dict())

        assert program.input_shape == GOLDEN[name].shape
        for batch in (1, 5):
            images = images_of(name, batch)
            with torch.no_grad():
                assert torch.equal(program.module(images), network(images)), file.name


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("name", GOLDEN)
def test_logits_are_the_same_bit_for_bit_in_batches_of_any_size(name: str, batch: int) -> None:
    images = images_of(name, batch)

    with torch.no_grad():
        logits = read(name).program.module(images)

        assert torch.equal(logits, read(name).original(images))


@pytest.mark.parametrize("name", GOLDEN)
def test_the_state_dict_is_that_of_the_original_and_loads_back(name: str) -> None:
    original, program = read(name).original, read(name).program
    tuned = {
        key: value + 0.25 if value.is_floating_point() else value
        for key, value in program.module.state_dict().items()
    }
    copied = copy.deepcopy(original)

    copied.load_state_dict(tuned)

    assert program.input_shape == GOLDEN[name].shape
    state = original.state_dict()
    assert set(program.module.state_dict()) == set(state)
    for key, value in program.module.state_dict().items():
        assert torch.equal(value, state[key])
        assert value.dtype == state[key].dtype


@pytest.mark.parametrize("name", GOLDEN)
def test_every_layer_is_the_module_that_it_was(name: str) -> None:
    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)
    rebuilt = dict(read(name).program.module.named_modules())

    for path, member in read(name).original.named_modules():
        if isinstance(member, (*kinds, nn.Dropout)):
            assert type(rebuilt[path]) is type(member)
            assert rebuilt[path].extra_repr() == member.extra_repr()


@pytest.mark.parametrize("name", GOLDEN)
def test_a_training_step_is_that_of_the_original(name: str) -> None:
    images, twins = images_of(name), []
    for module in (copy.deepcopy(read(name).original), copy.deepcopy(read(name).program.module)):
        module.train()
        optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
        torch.manual_seed(5)  # of dropout
        module(images).square().mean().backward()
        optimiser.step()
        twins.append(module)
    (original, rebuilt), before = twins, read(name).program.module.state_dict()

    state = rebuilt.state_dict()
    for key, value in original.state_dict().items():
        torch.testing.assert_close(state[key], value, rtol=1e-4, atol=1e-6, msg=key)
    moved = [key for key in state if not torch.equal(state[key], before[key])]
    assert {key for key in state if "running_" in key or "batches" in key} <= set(moved)


@pytest.mark.parametrize("name", GOLDEN)
def test_groups_are_those_of_the_original(name: str) -> None:
    expected = trace(read(name).original, GOLDEN[name].shape).graph

    found = read(name).network.graph

    assert found.groups == expected.groups
    assert found.fingerprint == expected.fingerprint
    assert len(found.groups) == GOLDEN[name].groups
    assert found.tensors == expected.tensors
    assert found.edges == expected.edges


# The others are only larger, and torch.export takes its time.
@pytest.mark.parametrize("name", sorted(set(GOLDEN) - {"ResNet-20", "MobileNetV2", "DenseNet-BC"}))
def test_a_cut_is_the_masked_network_and_can_be_exported_and_read_again(name: str) -> None:
    network, images = read(name).network, images_of(name)
    kept = random_kept(network.plan, np.random.default_rng(1))

    small = cut_module(network.module, network.plan, kept)

    with torch.no_grad():
        logits = small(images)
        masked = masked_module(network.module, network.plan, kept)(images)
        torch.testing.assert_close(logits, masked, rtol=1e-4, atol=1e-5)
        again = read_program(program_of(small, GOLDEN[name].shape)).module
        torch.testing.assert_close(again(images), logits, rtol=1e-5, atol=1e-6)
    sizes = [sum(each.numel() for each in module.parameters()) for module in (small, again)]
    assert sizes[0] == sizes[1] < sum(each.numel() for each in network.module.parameters())


@pytest.mark.parametrize("name", ["Vision Transformer", "inverted residuals"])
def test_a_program_of_this_project_is_read_too(name: str) -> None:
    import io

    buffer = io.BytesIO()
    torch.export.save(export_program(read(name).original, GOLDEN[name].shape), buffer)

    module = read_program(buffer.getvalue()).module

    with torch.no_grad():
        images = images_of(name)
        assert torch.equal(module(images), read(name).original(images))


@pytest.mark.parametrize("name", ["ResNet-20", "Vision Transformer"])
def test_a_read_network_survives_pickling_between_our_own_processes(name: str) -> None:
    module = read(name).program.module

    copied = pickle.loads(pickle.dumps(module))  # noqa: S301 - ours

    with torch.no_grad():
        assert torch.equal(copied(images_of(name)), module(images_of(name)))
