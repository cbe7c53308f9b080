import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_compress.core import Choice, LayerChoice, Policy, kept_channels
from automl_compress.core.errors import PolicyInvalid, PolicyMismatch
from tests.fakes import plain_graph

GRAPH = plain_graph((8, 16, 24))
widths = st.tuples(st.integers(1, 8), st.integers(1, 16), st.integers(1, 24))


@given(widths)
def test_widths_survive_the_policy(kept: tuple[int, ...]) -> None:
    assert Policy.from_widths(GRAPH, kept).widths(GRAPH) == kept


@given(widths)
def test_policy_survives_json(kept: tuple[int, ...]) -> None:
    policy = Policy.from_widths(GRAPH, kept, criterion="l2")

    assert Policy.from_json(json.loads(json.dumps(policy.to_json()))) == policy


@given(st.integers(1, 2048), st.data())
def test_every_count_of_channels_has_a_sparsity(channels: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, channels))

    assert kept_channels(channels, 1.0 - kept / channels) == kept


def test_no_sparsity_empties_a_group() -> None:
    assert kept_channels(4, 0.99) == 1


def test_kept_channels_survive_json_and_make_policies_differ() -> None:
    plain = Policy.from_widths(GRAPH, (1, 2, 3))

    explicit = plain.with_kept([[4], [0, 9], [1, 2, 3]])

    assert explicit != plain
    assert len({explicit, plain, Policy.from_json(explicit.to_json())}) == 2


def test_policy_of_another_graph_is_refused_with_names() -> None:
    with pytest.raises(PolicyMismatch, match="missing: \\['convolution2'\\]"):
        Policy.from_widths(plain_graph((8, 16)), (8, 16)).widths(GRAPH)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sparsity": 0.5}, "KeyError"),
        ({"group": "a", "sparsity": 1.0}, "allowed is 0 to below 1"),
        ({"group": "a", "sparsity": -0.1}, "allowed is 0 to below 1"),
        ({"group": "a", "sparsity": "half"}, "cannot be read"),
        ({"group": "a", "sparsity": 0.5, "scheme": "magic"}, "'channel'"),
        ({"group": "a", "sparsity": float("nan")}, "allowed is 0 to below 1"),
    ],
)
def test_document_that_cannot_be_read_says_why(wrong: dict, message: str) -> None:
    with pytest.raises(PolicyInvalid, match=message):
        Policy.from_json({"groups": [wrong], "layers": []})


@pytest.mark.parametrize("wrong", ["text", [], {"groups": []}, 3])
def test_policy_is_an_object_of_two_lists(wrong: object) -> None:
    with pytest.raises(PolicyInvalid, match="a list 'groups' and a list 'layers'"):
        Policy.from_json(wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weight_bits": 9}, "choose one of: 1, 2"),
        ({"activation_bits": 0}, "activation_bits 0"),
        ({"sparsity": 1.0}, "allowed is 0 to below 1"),
        ({"sparsity": 0.5, "weight_bits": 1}, "no code for zero"),
        ({"weight_bits": 4, "quantiser": "binary"}, "'binary' gives weights 1 bit, not 4"),
        ({"weight_bits": 16, "quantiser": "kmeans"}, "16 bits are given by: scan, uniform"),
        ({"weight_bits": 4, "quantiser": "bit_split"}, "take 'uniform', which it equals"),
        ({"weight_scales": "row"}, "weight_scales is 'row'; choose one of: channel, tensor"),
        ({"weight_bits": 1, "weight_scales": "tensor"}, "a sign and a scale for each output"),
        (
            {"weight_bits": 4, "quantiser": "kmeans", "weight_scales": "tensor"},
            "'kmeans' gives each output channel a codebook",
        ),
        ({"quantiser": "beauty"}, "no quantiser is called 'beauty'"),
        ({"layer": None, "sparsity": "half"}, "cannot be read"),
    ],
)
def test_layer_that_cannot_be_read_says_why(wrong: dict, message: str) -> None:
    layer = LayerChoice("a").to_json() | wrong

    with pytest.raises(PolicyInvalid, match=message):
        Policy.from_json({"groups": [], "layers": [layer]})


def test_layers_read_back_and_must_be_the_networks() -> None:
    policy = replace(
        Policy.from_widths(GRAPH, GRAPH.full_widths),
        layers=(
            LayerChoice("classifier", 0.5, 4, 8, "kmeans"),
            LayerChoice("convolution0", 0.5, 4, 8, "max", "tensor"),
            LayerChoice("other", 0.5),
        ),
    )

    assert Policy.from_json(json.loads(json.dumps(policy.to_json()))) == policy
    # Policies of channels are written as they were before there was a choice.
    assert "weight_scales" not in policy.to_json()["layers"][0]
    with pytest.raises(PolicyMismatch, match="'other'"):
        policy.layer_choices(GRAPH)


def test_float_weights_need_no_bits_of_the_quantiser() -> None:
    assert LayerChoice("a", 0.5, activation_bits=8, quantiser="ternary").rounds_inputs


def test_choices_leave_things_as_they_are_by_default() -> None:
    assert Choice("a", 0.0).scheme == "channel"
    assert LayerChoice("a").is_untouched
