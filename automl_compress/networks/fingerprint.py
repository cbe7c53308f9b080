"""Fingerprints by which a policy recognises its network; they need torch alone."""

import hashlib
import json

import torch
from torch import nn

from automl_compress.core.errors import ModelInvalid

# What of a module decides what it computes, besides its tensors' shapes.
_ATTRIBUTES = ("kernel_size", "stride", "padding", "dilation", "groups", "eps", "num_groups")


def graph_fingerprint(module: nn.Module, input_shape: tuple[int, ...]) -> str:
    """Return `sha256:...` over the modules in the order they run, and their tensors' shapes.

    Args:
        module: run once, in evaluation mode, on one example of zeros.
        input_shape: of one example, without the batch axis.

    Raises:
        ModelInvalid: the forward pass fails on this shape.
    """
    calls: list[list[object]] = []
    names = {each: name for name, each in module.named_modules()}

    def record(member: nn.Module, inputs: object, output: object) -> None:
        shape = list(output.shape[1:]) if isinstance(output, torch.Tensor) else []
        settings = [str(getattr(member, name, None)) for name in _ATTRIBUTES]
        calls.append([names[member], type(member).__name__, shape, settings])

    # An identity computes nothing, and leaves no trace in a program of the same network.
    leaves = [
        each for each in names if not list(each.children()) and not isinstance(each, nn.Identity)
    ]
    hooks = [each.register_forward_hook(record) for each in leaves]
    was_training = module.training
    try:
        module.eval()
        with torch.no_grad():
            module(torch.zeros(1, *input_shape))
    except Exception as error:  # whatever the user's forward pass raises
        raise ModelInvalid(
            f"the network does not take inputs of shape {input_shape}: "
            f"{type(error).__name__}: {error}; give it images of the shape that it takes"
        ) from error
    finally:
        module.train(was_training)
        for hook in hooks:
            hook.remove()
    shapes = {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
    text = json.dumps([list(input_shape), calls, shapes], separators=(",", ":"), sort_keys=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def weights_fingerprint(module: nn.Module) -> str:
    """Return `sha256:...` over names and bytes of the state dict."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode() + b"\0" + str(tensor.dtype).encode() + b"\0")
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return "sha256:" + digest.hexdigest()
