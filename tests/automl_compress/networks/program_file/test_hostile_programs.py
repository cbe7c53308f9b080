"""Files that were made to harm: refused with a reason, in bounded memory, and nothing runs."""

import contextlib
import io
import json
import pickle
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from automl_compress.core.errors import InvalidInput, ModelInvalid, OperatorsRefused
from automl_compress.networks.program_file.limits import ProgramLimits
from automl_compress.networks.program_file.reading import read_program
from tests.automl_compress.networks.program_file.archives import (
    GRAPH,
    ROOT,
    SHAPE,
    WEIGHTS,
    Small,
    archive_of,
    members_of,
    small_program,
    with_graph,
    with_json,
    with_member,
    with_weight,
)
from tests.automl_compress.networks.program_file.networks import program_of

INTS = list[dict[str, int]]


def ints(*numbers: int) -> INTS:
    return [{"as_int": number} for number in numbers]


class Payload:
    """Writes a marker file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self._marker,)


def payloads(marker: Path) -> dict[str, bytes]:
    buffer = io.BytesIO()
    torch.save(Payload(marker), buffer)
    return {"pickle": pickle.dumps(Payload(marker)), "torch.save": buffer.getvalue()}


def test_the_payload_works_where_it_is_unpickled(tmp_path: Path) -> None:
    pickle.loads(payloads(tmp_path / "marker")["pickle"])  # noqa: S301 - the point of the test

    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("kind", ["pickle", "torch.save"])
@pytest.mark.parametrize("member", sorted({*members_of(small_program()), "data/weights/model.pt"}))
def test_a_pickle_in_any_member_is_never_run(tmp_path: Path, member: str, kind: str) -> None:
    content = with_member(member, payloads(tmp_path / "marker")[kind])

    with contextlib.suppress(ModelInvalid), torch.no_grad():
        read_program(content).module(torch.zeros(1, *SHAPE))

    assert not (tmp_path / "marker").exists()


def test_pickled_sample_inputs_are_not_needed(tmp_path: Path) -> None:
    for content in payloads(tmp_path / "marker").values():
        read_program(with_member("data/sample_inputs/model.pt", content))

    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("kind", ["pickle", "torch.save"])
def test_a_weight_that_is_flagged_as_pickled_is_refused(tmp_path: Path, kind: str) -> None:
    members = members_of(with_weight("conv.weight", use_pickle=True))
    members["data/weights/weight_0"] = payloads(tmp_path / "marker")[kind]

    with pytest.raises(ModelInvalid, match=r"conv\.weight: is pickled, and nothing is ever"):
        read_program(archive_of(members))

    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/etc/passwd", "C:/evil", "a\\..\\evil", "a//b", "a/./b", "e\nvil"],
)
def test_names_that_lead_out_of_the_archive_are_refused(name: str) -> None:
    buffer = io.BytesIO(archive_of(members_of(small_program())))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")

    with pytest.raises(ModelInvalid, match=r"no plain relative name|root folders"):
        read_program(buffer.getvalue())


def test_a_symbolic_link_is_refused() -> None:
    buffer = io.BytesIO(small_program())
    link = zipfile.ZipInfo("archive/data/weights/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(link, "/etc/passwd")

    with pytest.raises(ModelInvalid, match="a link, a folder or a device"):
        read_program(buffer.getvalue())


def test_two_members_of_one_name_are_refused() -> None:
    buffer = io.BytesIO(small_program())
    name = zipfile.ZipFile(buffer).namelist()[0]
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(name, b"other")

    with pytest.raises(ModelInvalid, match="two members called"):
        read_program(buffer.getvalue())


def test_a_compression_bomb_is_refused_before_it_is_unpacked() -> None:
    members = {**members_of(small_program()), "data/weights/weight_0": bytes(100_000_000)}
    bomb = archive_of(members, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1_000_000

    with pytest.raises(ModelInvalid, match="compressed member"):
        read_within(bomb, megabytes=2)


def test_members_that_share_their_bytes_are_refused() -> None:
    """Entries of the list that all name the same bytes: small on disk, large when read."""
    content = bytearray(archive_of({**members_of(small_program()), "x": bytes(200_000)}))
    at = content.index(b"PK\x01\x02")
    entries = content[at : content.rindex(b"PK\x05\x06")]
    last = entries[entries.rindex(b"PK\x01\x02") :]
    many = b"".join(last[:-1] + bytes([letter]) for letter in range(97, 117))
    end = bytearray(content[content.rindex(b"PK\x05\x06") :])
    count = end[8] + 20
    struct.pack_into("<HHL", end, 8, count, count, len(entries) + len(many))

    with pytest.raises(ModelInvalid, match=r"overlap|can be read"):
        read_program(bytes(content[:at] + entries + many + end))


def test_a_member_that_begins_beyond_all_files_is_refused() -> None:
    buffer = io.BytesIO(archive_of(members_of(small_program())))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(f"{ROOT}/extra", b"")  # so that the list is written anew
        archive.getinfo(f"{ROOT}/{GRAPH}").header_offset = 2**63 + 1

    with pytest.raises(ModelInvalid, match=r"is damaged in its member 'models/model\.json'"):
        read_program(buffer.getvalue())


def test_a_list_of_very_many_members_is_refused_in_little_memory() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for place in range(25_000):
            archive.writestr(f"archive/{place}", b"")

    with pytest.raises(ModelInvalid, match="members"):
        read_within(buffer.getvalue(), megabytes=2)


@pytest.mark.parametrize("kept", [0, 1, 21, 22, 1000, -1, -22, -500])
def test_a_file_that_is_cut_short_is_refused(kept: int) -> None:
    with pytest.raises(ModelInvalid):
        read_program(small_program()[:kept])


def test_damaged_bytes_of_a_weight_are_noticed() -> None:
    content = bytearray(small_program())
    place = content.index(members_of(small_program())["data/weights/weight_0"])
    content[place] ^= 255

    with pytest.raises(ModelInvalid, match="is damaged in its member 'data/weights/weight_0'"):
        read_program(bytes(content))


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04", b"\x80\x02}q\x00.", pickle.dumps({"a": 1})]
)
def test_what_is_no_archive_is_refused(content: bytes) -> None:
    with pytest.raises(ModelInvalid, match=r"empty, or cut short|no zip archive"):
        read_program(content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match=r"none\.pt2 cannot be read \(No such file"):
        read_program(tmp_path / "none.pt2")


WEIGHT_ATTACKS: dict[str, tuple[dict[str, Any], str]] = {
    "larger than its bytes": ({"sizes": ints(4, 2, 3, 4), "strides": ints(24, 12, 4, 1)}, "reach"),
    "strides beyond its bytes": ({"strides": ints(1000, 9, 3, 1)}, "reach to"),
    "a gigabyte out of one value": ({"sizes": ints(2**30), "strides": ints(0)}, "reach to"),
    "64-bit sizes": ({"sizes": ints(2**62, 4), "strides": ints(2**62, 1)}, "reach to"),
    "an offset beyond its bytes": ({"storage_offset": {"as_int": 100}}, "reach to"),
    "a negative offset": ({"storage_offset": {"as_int": -1}}, "at least 0"),
    "a negative stride": ({"strides": ints(-18, 9, 3, 1)}, "at least 0"),
    "too few strides": ({"strides": ints(9, 3, 1)}, "one stride for each"),
    "many axes": ({"sizes": ints(*[1] * 60), "strides": ints(*[1] * 60)}, "at most 8 axes"),
    "a wider type": ({"dtype": 8}, "reach to"),
    "an unknown type": ({"dtype": 99}, "no element type"),
    "a complex type": ({"dtype": 10}, "no element type"),
    "a sparse layout": ({"layout": 2}, "sparse"),
    "a dynamic size": (
        {"sizes": [{"as_expr": {"expr_str": "Symbol('s0')", "hint": None}}, *ints(2, 3, 3)]},
        "dynamic",
    ),
    "other bytes": ({"path_name": "../constants/tensor_0"}, "which the archive does not have"),
    "no bytes": ({"path_name": "weight_99"}, "which the archive does not have"),
    "a pickle by another name": ({"use_pickle": 1}, "pickled"),
    "a truth that is none": ({"use_pickle": None}, "pickled"),
}


@pytest.mark.parametrize("attack", WEIGHT_ATTACKS)
def test_a_weight_must_fit_its_bytes(attack: str) -> None:
    changes, says = WEIGHT_ATTACKS[attack]

    with pytest.raises(ModelInvalid, match=says):
        read_within(with_weight("conv.weight", **changes), megabytes=4)


def test_strides_within_the_bytes_are_followed() -> None:
    """A weight that lies transposed in memory, as after `module.to(memory_format=...)`."""
    original = Small().eval()
    last = original.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with pytest.warns(UserWarning, match="No complete tensor found"):  # of torch, which saves it
        content = program_of(last, SHAPE)

    module = read_program(content).module

    assert torch.equal(module.state_dict()["conv.weight"], original.conv.weight)
    assert module.state_dict()["conv.weight"].is_contiguous()


JSON_ATTACKS: dict[str, tuple[bytes, str]] = {
    "deep arrays": (b"[" * 200_000 + b"]" * 200_000, "JSON|depth"),
    "deep objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "JSON|depth"),
    "not a number": (b'{"schema_version": NaN}', "NaN is no number"),
    "infinity": (b'{"schema_version": -Infinity}', "-Infinity is no number"),
    "a number beyond all": (b'{"schema_version": 1e999}', "not finite"),
    "a million digits": (b"[" + b"9" * 1_000_000 + b"]", "more than 64 bits"),
    "65 bits": (b"[18446744073709551616]", "more than 64 bits"),
    "a name twice": (b'{"schema_version": 1, "schema_version": 2}', "two members of one name"),
    "many empty arrays": (b"[" + b"[]," * 5_000_000 + b"[]]", "are allowed"),
    "no JSON": (b"{]", "no JSON"),
    "bytes that are no text": (b"\xff\xfe{}", "no JSON"),
    "another kind of document": (b"[1, 2]", "give an object"),
    "empty": (b"", "no JSON"),
}


@pytest.mark.parametrize("member", [GRAPH, WEIGHTS])
@pytest.mark.parametrize("attack", JSON_ATTACKS)
def test_hostile_json_is_refused_in_bounded_memory(attack: str, member: str) -> None:
    content, says = JSON_ATTACKS[attack]

    with pytest.raises(ModelInvalid, match=says):
        read_within(with_member(member, content), megabytes=60)


def add_node(graph: Any, target: str, *inputs: Any, output: str = "extra") -> None:
    """Put a node before the last, whose result nothing uses."""
    node = {
        "target": target,
        "inputs": [{"name": name, "arg": arg, "kind": 1} for name, arg in inputs],
        "outputs": [{"as_tensor": {"name": output}}],
        "metadata": {"stack_trace": 'File "/home/me/net.py", line 7, in forward\n    x = evil(x)'},
        "name": output,
    }
    graph["nodes"].insert(-1, node)


IMAGES = ("self", {"as_tensor": {"name": "x"}})
REFUSED = {
    "torch.ops.aten.grid_sampler.default": "an operator that is not on the list",
    "torch.ops.aten._linalg_svd.default": "an operator that is not on the list",
    "torch.ops.aten.from_file.default": "an operator that is not on the list",
    "torch.ops.aten.set_.source_Storage": "an operator that is not on the list",
    "torch.ops.higher_order.cond": "control flow",
    "torch.ops.higher_order.while_loop": "control flow",
    "torch.ops.aten.convolution.default": "what run_decompositions leaves",
    "torch.ops.mylib.evil.default": "not an operator of torch",
    "os.system": "not an operator of torch",
    "_operator.attrgetter": "not an operator of torch",
    "builtins.eval": "not an operator of torch",
    "torch.ops.aten.relu.default.__class__": "an operator that is not on the list",
}


@pytest.mark.parametrize("target", REFUSED)
def test_an_operator_outside_of_the_list_is_named_with_its_node_and_line(target: str) -> None:
    content = with_graph(lambda graph: add_node(graph, target, IMAGES))

    with pytest.raises(OperatorsRefused) as caught:
        read_program(content)

    (pointer, told), *others = caught.value.nodes.items()
    assert not others
    assert pointer.startswith("/models/model.json/graph_module/graph/nodes/")
    name = target.removeprefix("torch.ops.")
    assert told.startswith(f"'extra' ({name}) at net.py, line 7: x = evil(x): {REFUSED[target]}")
    assert told in str(caught.value)


def test_all_refused_nodes_are_told_and_the_first_ones_named() -> None:
    def change(graph: Any) -> None:
        for place in range(9):
            add_node(graph, "torch.ops.mylib.evil.default", IMAGES, output=f"e{place}")

    with pytest.raises(OperatorsRefused, match=r"9 of 17 nodes .* and 4 more") as caught:
        read_program(with_graph(change))

    assert len(caught.value.nodes) == 9


def rename_output(graph: Any, to: str) -> None:
    graph["nodes"][0]["outputs"] = [{"as_tensor": {"name": to}}]


def argument(place: int, name: str, **value: Any) -> Callable[[Any], None]:
    """Replace an argument of the node at a place."""

    def change(graph: Any) -> None:
        (found,) = [each for each in graph["nodes"][place]["inputs"] if each["name"] == name]
        found["arg"] = value

    return change


def nodes_of(target: str, count: int) -> Callable[[Any], None]:
    def change(graph: Any) -> None:
        for place in range(count):
            add_node(graph, f"torch.ops.aten.{target}", IMAGES, output=f"e{place}")

    return change


def doubled(count: int) -> Callable[[Any], None]:
    """Sizes that double with every node: Python's integers would fill the memory."""

    def change(graph: Any) -> None:
        size = {"as_sym_int": {"as_name": "n0"}}
        add_node(graph, "torch.ops.aten.sym_size.int", IMAGES, ("dim", {"as_int": 0}), output="n0")
        graph["nodes"][-2]["outputs"] = [size]
        for place in range(count):
            last = {"as_sym_int": {"as_name": f"n{place}"}}
            add_node(graph, "_operator.mul", ("a", last), ("b", last))
            graph["nodes"][-2]["outputs"] = [{"as_sym_int": {"as_name": f"n{place + 1}"}}]

    return change


def repeated(*times: int) -> Callable[[Any], None]:
    sizes = ("repeats", {"as_ints": list(times)})
    return lambda graph: add_node(graph, "torch.ops.aten.repeat.default", IMAGES, sizes)


def made(target: str, *size: int) -> Callable[[Any], None]:
    sizes, device = ("size", {"as_ints": list(size)}), ("device", {"as_device": {"type": "cpu"}})
    return lambda graph: add_node(graph, f"torch.ops.aten.{target}", sizes, device)


GRAPH_ATTACKS: dict[str, tuple[Callable[[Any], object], str]] = {
    "10,000 nodes": (nodes_of("relu.default", 10_000), "nodes; 6,000 are allowed"),
    "a cycle": (
        argument(0, "input", as_tensor={"name": "linear"}),
        "uses 'linear', which no node before it gives",
    ),
    "a node that uses itself": (
        argument(0, "input", as_tensor={"name": "conv2d"}),
        "which no node before it gives",
    ),
    "a value from nowhere": (
        argument(0, "input", as_tensor={"name": "nothing"}),
        "which no node before it gives",
    ),
    "a value given twice": (lambda graph: rename_output(graph, "x"), "exists already"),
    "an argument of another name": (
        lambda graph: graph["nodes"][0]["inputs"][0].update(name="evil"),
        "is an argument 'evil'",
    ),
    "an argument of two kinds": (
        argument(0, "input", as_tensor={"name": "x"}, as_int=1),
        "has 2 members",
    ),
    "an argument of no kind": (argument(0, "input"), "has 0 members"),
    "a graph as argument": (argument(0, "bias", as_graph={}), "'as_graph', which is not taken"),
    "an object as argument": (argument(0, "bias", as_custom_obj={}), "which is not taken"),
    "an operator as argument": (argument(0, "bias", as_operator="os.system"), "not taken"),
    "a text for a tensor": (argument(0, "bias", as_string="evil"), "fails"),
    "a fraction of an index": (argument(0, "bias", as_int=0.5), "an integer"),
    "a graphics card": (
        lambda graph: add_node(
            graph, "torch.ops.aten.to.device", IMAGES, ("device", {"as_device": {"type": "cuda"}})
        ),
        "export the network on the CPU",
    ),
    "sizes that double": (doubled(200), "more than 64 bits"),
    "a terabyte by repeating": (repeated(2**20, 2**20, 1, 1), "values"),
    "more values than 64 bits count": (repeated(2**40, 2**40, 1, 1), "fails|cannot be found"),
    "a terabyte of zeros": (made("zeros.default", 2**40), "values"),
    "a terabyte of ones": (made("ones.default", 2**20, 2**20), "values"),
    "a negative size": (made("zeros.default", -5), "fails|cannot be found"),
    "sixty axes": (made("zeros.default", *[1] * 60), "axes"),
    "a shape that values choose": (
        lambda graph: (
            add_node(
                graph,
                "torch.ops.aten.index.Tensor",
                IMAGES,
                ("indices", {"as_optional_tensors": [{"as_tensor": {"name": "extra0"}}]}),
            )
            or add_node_before(graph)
        ),
        "fails|cannot be found",
    ),
    "no output": (lambda graph: graph["nodes"].pop(), "which no node gives"),
    "no nodes": (lambda graph: graph["nodes"].clear(), "which no node gives"),
    "a node without results": (lambda graph: graph["nodes"][0].update(outputs=[]), "no result"),
    "results of another kind": (
        lambda graph: graph["nodes"][0].update(outputs=[{"as_custom_obj": {}}]),
        "is a result of kind",
    ),
    "nodes that are numbers": (lambda graph: graph.update(nodes=[1, 2]), "give an object"),
    "a weight that the graph overwrites": (
        lambda graph: add_node(
            graph,
            "torch.ops.aten.add_.Tensor",
            ("self", {"as_tensor": {"name": "p_linear_weight"}}),
            ("other", {"as_int": 1}),
        ),
        "overwrites its own tensors",
    ),
    "images that the graph overwrites": (
        lambda graph: add_node(
            graph, "torch.ops.aten.add_.Tensor", IMAGES, ("other", {"as_int": 1})
        ),
        "overwrites its images",
    ),
}


def add_node_before(graph: Any) -> None:
    """Make the mask that the node before selects by."""
    add_node(graph, "torch.ops.aten.gt.Scalar", IMAGES, ("other", {"as_int": 0}), output="extra0")
    nodes = graph["nodes"]
    nodes[-2], nodes[-3] = nodes[-3], nodes[-2]


@pytest.mark.parametrize("attack", GRAPH_ATTACKS)
def test_a_hostile_graph_is_refused_in_bounded_memory(attack: str) -> None:
    change, says = GRAPH_ATTACKS[attack]
    content = with_graph(change)

    with pytest.raises(ModelInvalid, match=says):
        read_within(content, megabytes=120)


@pytest.mark.parametrize(
    "expression",
    [
        "Symbol('s0') + Symbol('s1')",
        "Mul(Integer(2), Symbol('s77', positive=True, integer=True))",
        "__import__('os').system('touch marker')",
        "Symbol('s77', positive=__import__('os').system('touch marker'))",
        "Integer(9)**Integer(99)**Integer(99)",
        "(" * 100_000,
    ],
)
def test_size_expressions_are_never_evaluated(
    expression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def change(graph: Any) -> None:
        for meta in graph["tensor_values"].values():
            for size in meta["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = expression
        graph["sym_int_values"]["evil"] = {"as_expr": {"expr_str": expression, "hint": None}}

    with pytest.raises(ModelInvalid, match="is the expression"):
        read_program(with_graph(change))

    assert not (tmp_path / "marker").exists()


def test_dynamic_image_sizes_are_refused() -> None:
    def change(graph: Any) -> None:
        graph["tensor_values"]["x"]["sizes"][2] = {
            "as_expr": {"expr_str": "Symbol('s1', positive=True, integer=True)", "hint": None}
        }

    with pytest.raises(ModelInvalid, match="dynamic or empty axis besides the first"):
        read_program(with_graph(change))


def rename_weight(to: str) -> bytes:
    """Give the linear layer's weight another name, everywhere."""
    members = members_of(small_program())
    for member in (GRAPH, WEIGHTS):
        told = json.dumps("linear.weight").encode()
        members[member] = members[member].replace(told, json.dumps(to).encode())
    return archive_of(members)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "__class__",
            "forward",
            "training.weight",
            "_parameters.weight",
            "_modules",
            "conv.stride",
        ),
        *("conv.forward.weight", "", "a b", "a;import os", "ä.weight", ".".join("a" * 40)),
        *("a" * 400, "_wiring", "linear..weight", "linear.weight\n", "state_dict.x"),
    ],
)
def test_names_that_no_module_can_have_are_refused(name: str) -> None:
    with pytest.raises(ModelInvalid):
        read_program(rename_weight(name))


def test_a_name_that_means_nothing_to_torch_is_taken() -> None:
    module = read_program(rename_weight("head.linear.weight")).module

    assert "head.linear.weight" in module.state_dict()


def signature(change: Callable[[Any], object]) -> bytes:
    return with_json(GRAPH, lambda document: change(document["graph_module"]["signature"]))


SIGNATURES: dict[str, tuple[Callable[[Any], object], str]] = {
    "two inputs": (
        lambda told: told["input_specs"].append(
            {"user_input": {"arg": {"as_tensor": {"name": "y"}}}}
        ),
        "has 2 inputs",
    ),
    "no input": (lambda told: told["input_specs"].pop(), "has 0 inputs"),
    "an object as input": (
        lambda told: told["input_specs"].append({"custom_obj": {"arg": {}}}),
        "which is not taken",
    ),
    "no output": (lambda told: told["output_specs"].clear(), "has 0 outputs"),
    "too many outputs": (
        lambda told: told["output_specs"].extend(told["output_specs"] * 100),
        "has 101 outputs; a network returns 1 to 100",
    ),
    "a number as output": (
        lambda told: told["output_specs"].append({"user_output": {"arg": {"as_int": 3}}}),
        "has 2 outputs, of which number 1 is of kind 'as_int'",
    ),
    "an output that no node gives": (
        lambda told: told["output_specs"].append(
            {"user_output": {"arg": {"as_tensor": {"name": "nothing"}}}}
        ),
        "names the output 'nothing', which no node gives",
    ),
    "a buffer that changes": (
        lambda told: told["output_specs"].insert(0, {"buffer_mutation": {}}),
        "has 2 outputs, of which number 0 is of kind 'buffer_mutation'",
    ),
    "a weight without values": (
        lambda told: told["input_specs"][0]["parameter"].update(parameter_name="nothing"),
        "no values for the tensor 'nothing'",
    ),
}


@pytest.mark.parametrize("attack", SIGNATURES)
def test_programs_of_one_input_and_of_tensors_as_outputs_are_read(attack: str) -> None:
    change, says = SIGNATURES[attack]

    with pytest.raises(ModelInvalid, match=says):
        read_program(signature(change))


def test_another_version_of_the_schema_is_refused() -> None:
    content = with_json(GRAPH, lambda document: document["schema_version"].update(major=9))

    with pytest.raises(ModelInvalid, match="programs of schema 8 are read"):
        read_program(content)


def test_an_archive_of_two_programs_is_refused() -> None:
    members = members_of(small_program())

    with pytest.raises(ModelInvalid, match="holds 2 programs"):
        read_program(archive_of({**members, "models/other.json": members[GRAPH]}))


def test_another_byte_order_is_refused() -> None:
    with pytest.raises(ModelInvalid, match="byte order"):
        read_program(with_member("byteorder", b"big"))


def test_limits_are_checked_before_reading() -> None:
    content = small_program()
    for limits, says in (
        (ProgramLimits(file_bytes=1000), "bytes, and 1,000 are allowed"),
        (ProgramLimits(members=3), "members"),
        (ProgramLimits(json_bytes=100), "bytes in 'models/model.json'"),
        (ProgramLimits(json_values=100), "values in 'models/model.json'"),
        (ProgramLimits(nodes=2), "nodes; 2 are allowed"),
        (ProgramLimits(tensors=2), "tensors; 2 are allowed"),
        (ProgramLimits(values_each=100), "values"),
        (ProgramLimits(values_together=500), "values together"),
    ):
        with pytest.raises(ModelInvalid, match=says):
            read_program(content, limits)


@pytest.mark.slow
def test_nothing_that_unpickles_is_called_to_read() -> None:
    """The reader runs with every unpickler replaced by one that ends the process."""
    code = """
import io, os, pickle, sys, torch
from automl_compress.networks.program_file.reading import read_program
def stop(*_, **__): os._exit(66)
content = sys.stdin.buffer.read()
read_program(content)  # torch imports some of its parts late, among them classes of unpicklers
pickle.load = pickle.loads = pickle.Unpickler = torch.load = torch.export.load = stop
print(read_program(content).input_shape)
"""

    done = subprocess.run(
        [sys.executable, "-c", code], input=small_program(), capture_output=True, timeout=120
    )

    assert (done.returncode, done.stdout.decode().strip()) == (0, str(SHAPE)), done.stderr


def read_within(content: bytes, megabytes: int) -> None:
    """Read, and fail if Python's own objects take more memory than this."""
    tracemalloc.start()
    try:
        read_program(content)
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < megabytes * 1_000_000, f"{most:,} bytes"


def test_every_refusal_is_the_users_error() -> None:
    assert issubclass(OperatorsRefused, ModelInvalid)
    assert issubclass(ModelInvalid, InvalidInput)
