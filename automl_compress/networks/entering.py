"""What enters the layers of a network as it runs, however its forward pass names it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

Visit = Callable[[str, nn.Module, Tensor], None]  # name, layer, what entered it


def entered(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
    """Return what a layer was called with: `layer(x)` or `layer(input=x)`."""
    return arguments[0] if arguments else next(iter(keywords.values()))


@contextmanager
def visiting(members: Mapping[str, nn.Module], visit: Visit) -> Iterator[None]:
    """Show the visitor what enters each of these layers, at each call of a forward pass.

    Args:
        members: layers, by the name that the visitor gets.
        visit: called before the layer runs.
    """

    def hook_for(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(layer: nn.Module, arguments: Any, keywords: Any) -> None:
            visit(name, layer, entered(arguments, keywords))

        return hook

    hooks = [
        member.register_forward_pre_hook(hook_for(name), with_kwargs=True)
        for name, member in members.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
