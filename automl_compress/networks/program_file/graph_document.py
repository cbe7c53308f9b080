"""The graph document of a program: `models/model.json`, as torch.export writes it."""

from dataclasses import dataclass, field

import torch

from automl_compress.core.json_field import JsonField
from automl_compress.networks.program_file.arguments import (
    read_element_type,
    read_name,
    read_union,
)
from automl_compress.networks.program_file.limits import ProgramLimits
from automl_compress.networks.program_file.nodes import read_steps
from automl_compress.networks.program_file.sizes import read_input_shape
from automl_compress.networks.program_file.steps import ProgramGraph

SCHEMA_MAJOR = 8  # of torch 2.9 to 2.13


def read_graph(document: JsonField, limits: ProgramLimits) -> ProgramGraph:
    """Read what a program computes; nothing is called.

    Raises:
        OperatorsRefused: nodes with operators that are not on the list.
        ModelInvalid: not a program of one input and of outputs that are tensors, larger than the
            limits, or a node uses a value that no node before it gives.
    """
    _check_version(document)
    module = document.get("graph_module")
    graph, signature = module.get("graph"), module.get("signature")
    inputs = _read_inputs(signature, limits)
    shapes = graph.get("tensor_values")
    (name,) = inputs.images
    images = shapes.get(name)
    if read_element_type(images.get("dtype")) != torch.float32:
        images.refuse("does not take float32 images; export the network in float32")
    batch, input_shape = read_input_shape(images.get("sizes"), limits.axes)
    outputs = _read_outputs(signature, limits)
    steps = read_steps(graph.get("nodes"), name, inputs.stored, limits)
    given = {result for step in steps for result in step.results()}
    for output in outputs:
        if output not in given:
            signature.refuse(f"names the output {output[:60]!r}, which no node gives")
    return ProgramGraph(
        images=name,
        input_shape=input_shape,
        batch=batch,
        stored=inputs.stored,
        transient=frozenset(inputs.transient),
        constants=frozenset(inputs.constants),
        steps=steps,
        outputs=outputs,
    )


def _check_version(document: JsonField) -> None:
    major = document.get("schema_version").get("major")
    if major.integer() != SCHEMA_MAJOR:
        major.refuse(
            f"is {major.value}; programs of schema {SCHEMA_MAJOR} are read: save the network with "
            "torch.export.save of torch 2.9 to 2.13"
        )


@dataclass
class _Inputs:
    images: list[str] = field(default_factory=list[str])
    stored: dict[str, str] = field(default_factory=dict[str, str])
    transient: set[str] = field(default_factory=set[str])
    constants: set[str] = field(default_factory=set[str])


def _read_inputs(signature: JsonField, limits: ProgramLimits) -> _Inputs:
    inputs = _Inputs()
    for spec in signature.get("input_specs").items():
        kind, content = read_union(spec)
        if kind == "user_input":
            what, images = read_union(content.get("arg"))
            inputs.images.append(read_name(images.get("name")) if what == "as_tensor" else "")
        elif kind in ("parameter", "buffer", "tensor_constant"):
            _add_stored(inputs, spec, kind, content)
        else:
            spec.refuse(f"is an input of kind {kind[:30]!r}, which is not taken")
    if len(inputs.images) != 1 or not inputs.images[0] or inputs.images[0] in inputs.stored:
        signature.refuse(
            f"has {len(inputs.images)} inputs; give a network of one input, a tensor of images: "
            "wrap it in a module that takes the images alone"
        )
    if len(inputs.stored) > limits.tensors:
        signature.refuse(f"names {len(inputs.stored):,} tensors; {limits.tensors:,} are allowed")
    return inputs


def _add_stored(inputs: _Inputs, spec: JsonField, kind: str, content: JsonField) -> None:
    name = read_name(content.get("arg").get("name"))
    tensor = read_name(content.get(f"{kind}_name"))
    if name in inputs.stored:
        spec.refuse(f"names {name!r} a second time")
    inputs.stored[name] = tensor
    if kind == "tensor_constant":
        inputs.constants.add(tensor)
    if kind == "tensor_constant" or (kind == "buffer" and content.get("persistent").value is False):
        inputs.transient.add(tensor)


def _read_outputs(signature: JsonField, limits: ProgramLimits) -> tuple[str, ...]:
    specs = [read_union(each) for each in signature.get("output_specs").items()]
    if not 1 <= len(specs) <= limits.outputs:
        signature.refuse(
            f"has {len(specs):,} outputs; a network returns 1 to {limits.outputs} tensors"
        )
    names: list[str] = []
    for number, (kind, content) in enumerate(specs):
        what, tensor = read_union(content.get("arg")) if kind == "user_output" else (kind, content)
        if what != "as_tensor":
            signature.refuse(
                f"has {len(specs)} outputs, of which number {number} is of kind {what[:30]!r}; "
                "give a network that returns tensors alone and changes none of its own: wrap it "
                "in a module that leaves the others out"
            )
        names.append(read_name(tensor.get("name")))
    return tuple(names)
