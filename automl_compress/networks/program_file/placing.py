"""Putting modules and tensors under the paths that a file names."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from automl_compress.networks.program_file.archive import refuse

_PATH = re.compile(r"[\w-]+(?:\.[\w-]+){0,30}", re.ASCII)
_LONGEST_PATH = 300
_RENAME = "rename it in the network's class, and export it again"


def is_path(path: str) -> bool:
    """Tell whether a text can be the path of a module or tensor."""
    return len(path) <= _LONGEST_PATH and _PATH.fullmatch(path) is not None


class Placement:
    """Fills a module; where a path leads through nothing, plain modules are put."""

    def __init__(self, root: nn.Module, built: Mapping[str, nn.Module]) -> None:
        """Fill `root`, with these modules at their paths as soon as a path leads there."""
        self._root, self._built = root, built
        self._parameters: dict[int, nn.Parameter] = {}

    def add_tensor(
        self, path: str, tensor: Tensor, *, is_parameter: bool = False, is_persistent: bool = True
    ) -> None:
        """Put a tensor at a path; the same tensor at two paths becomes one parameter.

        Raises:
            ModelInvalid: the path is none that a tensor can have, or a module stores something
                else there.
        """
        owner, name = self._owner(path)
        known = {**owner._parameters, **owner._buffers}
        if name in known:
            if (name in owner._parameters) != is_parameter:
                refuse(f"says of {path!r} that it is a parameter and that it is none")
        elif hasattr(owner, name):
            refuse(f"names a tensor {path!r}, which torch itself uses", _RENAME)
        if not is_parameter:
            owner.register_buffer(name, tensor, persistent=is_persistent)
            return
        if not tensor.is_floating_point():
            refuse(f"has a parameter {path!r} of {tensor.dtype}; give a network of float32")
        if id(tensor) not in self._parameters:
            self._parameters[id(tensor)] = nn.Parameter(tensor)
        owner.register_parameter(name, self._parameters[id(tensor)])

    def finish(self) -> None:
        """Put what is left, and drop batch counters that the file does not have.

        Raises:
            ModelInvalid: a path is none that a module can have, or a tensor of a module is
                missing.
        """
        for path in self._built:
            self._module(path)
        for path, module in self._root.named_modules():
            if isinstance(module, nn.modules.batchnorm._NormBase):
                counter = module.num_batches_tracked
                if counter is not None and counter.is_meta:
                    module.num_batches_tracked = None
            tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
            if any(tensor.is_meta for tensor in tensors):
                refuse(f"has no values for a tensor of {path!r}")

    def _owner(self, path: str) -> tuple[nn.Module, str]:
        if not is_path(path):
            refuse(f"names {path[:60]!r}, which is no path of a module or tensor", _RENAME)
        owner, _, name = path.rpartition(".")
        return self._module(owner) if owner else self._root, name

    def _module(self, path: str) -> nn.Module:
        """Return the module at a path, put there if there is none yet."""
        owner, name = self._owner(path)
        if name not in owner._modules:
            if hasattr(owner, name):
                refuse(f"names a module {path!r}, which torch itself uses", _RENAME)
            owner.add_module(name, self._built.get(path, nn.Module()))
        module = owner._modules[name]
        assert module is not None
        return module
