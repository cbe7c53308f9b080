"""Watching the operators of a forward pass."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class OperatorMode(TorchDispatchMode):
    """A mode whose `__torch_dispatch__` sees every operator.

    torch keeps its compiler, which nobody here runs, out of such a method, and imports it for
    that: half of the time that a process needs to look at a network.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class MacCounter(OperatorMode):
    """Counts multiply-accumulates by operator, with the formulas of torch's own counter.

    That one, `FlopCounterMode`, counts the same, but brings in the compiler.

    Attributes:
        everywhere: of the whole forward pass.
        in_layers: of what ran within one of the layers that are followed.
    """

    def __init__(self) -> None:
        """Begin at nothing."""
        super().__init__()
        self.everywhere: Counter[str] = Counter()
        self.in_layers: Counter[str] = Counter()
        self._depth = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator, or what it is made of, and count it."""
        kwargs = kwargs or {}
        packet = func.overloadpacket
        if func is not torch.ops.prim.device.default:
            with self:
                made_of = func.decompose(*args, **kwargs)
            if made_of is not NotImplemented:
                return made_of
        result = func(*args, **kwargs)
        if packet in flop_registry:
            # The formulas count multiplies and adds.
            macs = flop_registry[packet](*args, **kwargs, out_val=result) // 2
            name = str(packet).removeprefix("aten.")
            self.everywhere[name] += macs
            if self._depth:
                self.in_layers[name] += macs
        return result

    @contextmanager
    def following(self, layers: list[nn.Module]) -> Iterator[None]:
        """Know of these layers when one of them runs."""
        hooks = [layer.register_forward_pre_hook(self._enter) for layer in layers]
        hooks += [layer.register_forward_hook(self._leave) for layer in layers]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, *ignored: object) -> None:
        self._depth += 1

    def _leave(self, *ignored: object) -> None:
        self._depth -= 1
