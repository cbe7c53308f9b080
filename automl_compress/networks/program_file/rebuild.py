"""From the graph and the tensors of a program to a module."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from automl_compress.networks.program_file.dry_run import Shapes
from automl_compress.networks.program_file.evaluation_mode import is_dropout
from automl_compress.networks.program_file.layers import arguments_of, build_layer, layer_tensors
from automl_compress.networks.program_file.network import ProgramNetwork
from automl_compress.networks.program_file.placing import Placement, is_path
from automl_compress.networks.program_file.plain_modules import plain_module
from automl_compress.networks.program_file.reshapes import follow_input
from automl_compress.networks.program_file.shortcuts import find_shortcuts
from automl_compress.networks.program_file.steps import ProgramGraph, Reference, Step, Wiring
from automl_compress.networks.program_file.tensors import StoredTensors


def rebuild(
    graph: ProgramGraph,
    plain: Wiring,
    tensors: StoredTensors,
    stored: Mapping[str, Tensor],
    shapes: Shapes,
) -> ProgramNetwork:
    """Make a trainable module of a program.

    Convolutions, linear layers, norms and dropouts become the modules that they were, under
    their original paths; the other steps call operators.

    Args:
        graph: what the program says of its tensors.
        plain: its steps, as operators.
        tensors: of the file, by their own names.
        stored: the same by the names that steps use.
        shapes: of all results.

    Raises:
        ModelInvalid: a tensor's name is none that a module can have.
    """
    layers = _Layers(graph.stored, stored, shapes)
    steps = tuple(
        follow_input(layers.take(step), shapes) for step in _joined(plain, stored, layers)
    )
    used = {reference.name for step in steps for reference in step.references()}
    used |= set(plain.outputs)
    # A constant of the forward pass had no place in any module.
    hidden = {name: f"constant_{place}" for place, name in enumerate(sorted(graph.constants))}
    paths = {name: hidden.get(path, path) for name, path in graph.stored.items() if name in used}
    network = ProgramNetwork(Wiring(plain.images, steps, plain.outputs, paths))
    placement = Placement(network, layers.built)
    for name, tensor in tensors.weights.items():
        placement.add_tensor(name, tensor, is_parameter=name in tensors.parameters)
    for name, tensor in tensors.constants.items():
        placement.add_tensor(hidden.get(name, name), tensor, is_persistent=False)
    placement.finish()
    return network


def _joined(plain: Wiring, stored: Mapping[str, Tensor], layers: "_Layers") -> Iterator[Step]:
    """Yield the steps, those of each shortcut as the one call of a module that they were."""
    shortcuts = find_shortcuts(plain, stored, layers.shapes)
    replaced = {
        name for each in shortcuts.values() for name in (*each.replaced, *each.step.results())
    }
    for step in plain.steps:
        name = step.results()[0]
        if name in shortcuts:
            each = shortcuts[name]
            yield replace(each.step, module=layers.put(each.path, "shortcut", each.module))
        elif name not in replaced:
            yield step


class _Layers:
    """The modules that steps become, by their paths."""

    def __init__(
        self, names: Mapping[str, str], stored: Mapping[str, Tensor], shapes: Shapes
    ) -> None:
        self._names, self._stored, self.shapes = names, stored, shapes
        self._aliases: dict[int, set[str]] = {}  # a tensor that two modules share has two names
        for used, name in names.items():
            self._aliases.setdefault(id(stored[used]), set()).add(name)
        self.built: dict[str, nn.Module] = {}
        self._settings: dict[str, Any] = {}

    def take(self, step: Step) -> Step:
        """Return the step, run by a module where it becomes one."""
        tensors, source = layer_tensors(step, self._stored), _input_of(step)
        if step.module is not None or not isinstance(source, Reference):
            return step
        if tensors is None:
            return self._without_tensors(step)
        path = self._owner(step, tensors)
        if path is None:
            return step
        arguments = arguments_of(step).items()
        plain = {name: value for name, value in arguments if not isinstance(value, Reference)}
        settings = step.target, len(self.shapes[source.name]), plain
        if path not in self.built:
            try:
                self.built[path] = build_layer(step, tensors, settings[1])
            except (ValueError, TypeError, RuntimeError):
                return step  # settings that no module has: it stays an operator
            self._settings[path] = settings
        return _run_by(step, path) if self._settings.get(path) == settings else step

    def _owner(self, step: Step, tensors: Mapping[str, Tensor]) -> str | None:
        """Find the path under which all tensors of a module lie."""
        owners: list[set[str]] = []
        for name, tensor in tensors.items():
            aliases = [alias.rpartition(".") for alias in self._aliases[id(tensor)]]
            owners.append({owner for owner, _, last in aliases if last == name and owner})
        paths = set.intersection(*owners)
        return step.module_path if step.module_path in paths else min(paths, default=None)

    def _without_tensors(self, step: Step) -> Step:
        made = plain_module(step)
        if made is None:
            return step
        module, is_told = made
        path, settings = step.module_path, (step.module_class, repr(module))
        if is_told and self._settings.get(path) == settings:
            return _run_by(step, path)  # the same module is called again
        if not is_told or not self._is_free(path):
            return _run_by(step, self.put("", "dropout", module)) if is_dropout(step) else step
        self.built[path], self._settings[path] = module, settings
        return _run_by(step, path)

    def put(self, path: str, kind: str, module: nn.Module) -> str:
        """Put a module that has no tensors of the file, and return where it is."""
        place = len(self.built)
        while not path or path in self.built:
            path, place = f"{kind}_{place}", place + 1
            path = path if self._is_free(path) else ""
        self.built[path] = module
        return path

    def _is_free(self, path: str) -> bool:
        names = {*self._names.values(), *self.built}
        return is_path(path) and not any(f"{name}.".startswith(f"{path}.") for name in names)


def _input_of(step: Step) -> Any:
    arguments = arguments_of(step)
    return arguments.get("input", arguments.get("self"))


def _run_by(step: Step, path: str) -> Step:
    return replace(step, module=path, arguments=(_input_of(step),), keywords={})
