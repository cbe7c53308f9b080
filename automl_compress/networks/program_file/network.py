"""A module that runs a program: step by step, without generated code."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from automl_compress.core.errors import ModelInvalid
from automl_compress.networks.program_file.operators import CALLABLES
from automl_compress.networks.program_file.steps import Step, Wiring, bind, resolve


class ProgramNetwork(nn.Module):
    """A network that was read from a program file.

    Its modules have the paths that they had where it was exported, so its state dict has the
    same keys. It can be trained, cut, copied, pickled and exported again like any other module.
    """

    def __init__(self, wiring: Wiring) -> None:
        """Run these steps; modules and tensors that they name are added afterwards."""
        super().__init__()
        self._wiring = wiring.with_expiry()

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the output of images (B, ...), or the outputs where there are several.

        What the class returned in lists and dicts comes as one tuple, in the same order.

        Raises:
            ModelInvalid: a step fails; the message names the node.
        """
        wiring = self._wiring
        results: dict[str, Any] = {name: self._tensor(path) for name, path in wiring.stored.items()}
        results[wiring.images] = images
        outputs = run_steps(wiring, results, self.get_submodule)
        first, *others = outputs
        return outputs if others else first

    def _tensor(self, path: str) -> Tensor:
        owner, _, name = path.rpartition(".")
        return getattr(self.get_submodule(owner), name)


def run_steps(
    wiring: Wiring, results: dict[str, Any], module_of: Callable[[str], nn.Module]
) -> tuple[Tensor, ...]:
    """Run all steps and return the outputs.

    Args:
        wiring: the steps.
        results: images and stored tensors by name; results are added and dropped here.
        module_of: returns the module at a path.

    Raises:
        ModelInvalid: a step fails; the message names the node.
    """
    for step in wiring.steps:
        try:
            results |= bind(step.outputs, _run(step, results, module_of))
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
            raise _failed(step, error) from error
        for name in step.expired:
            del results[name]
    outputs = tuple(results[name] for name in wiring.outputs)
    if not all(isinstance(each, Tensor) for each in outputs):
        raise ModelInvalid("the program returns no tensor; a network returns logits (B, classes)")
    return outputs


def _run(step: Step, results: Mapping[str, Any], module_of: Callable[[str], nn.Module]) -> Any:
    arguments = [resolve(each, results) for each in step.arguments]
    if step.module is not None:
        return module_of(step.module)(*arguments)
    keywords = {name: resolve(each, results) for name, each in step.keywords.items()}
    return CALLABLES[step.target](*arguments, **keywords)


def _failed(step: Step, error: Exception) -> ModelInvalid:
    reason = str(error).strip().partition("\n")[0]
    return ModelInvalid(f"node {step} fails: {reason}")
