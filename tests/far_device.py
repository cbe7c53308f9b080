"""A second device that every machine has, to prove that code keeps to one device.

It computes with the processor's own kernels, so results are right, and refuses operators whose
operands lie partly elsewhere, as a GPU does. Importing this module registers it as `far`, by
torch's hooks for backends that are written in Python.
"""

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend


class _FarModule(ModuleType):
    """What torch asks of the module of a backend."""

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.bfloat16]

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        """Draw from the processor's generator, which is seeded anyway."""

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False


_setup_privateuseone_for_python_backend("far", backend_module=_FarModule("far"))
FAR = torch.device("far:0")


class FarTensor(Tensor):
    """A tensor of the far device; `near` holds its values."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> "FarTensor":
        """Wrap values."""
        made: Any = Tensor._make_wrapper_subclass(
            cls,
            near.size(),
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            device=FAR,
        )
        made.near = near
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Compute near by, and keep the result here."""
        return _computed(func, args, dict(kwargs or {}))


def _computed(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    if func.namespace == "mkldnn":
        raise NotImplementedError(f"{func} is the processor's own")
    if func in _SPECIAL:
        return _SPECIAL[func](*args, **kwargs)
    target = kwargs.get("device") or FAR
    if "device" in kwargs:
        kwargs["device"] = torch.device("cpu")
    results = func(*tree_map(_operand, args), **tree_map(_operand, kwargs))
    if func._schema.name.endswith("_"):
        return args[0] if func._schema.returns else None
    return results if target.type != FAR.type else tree_map(_result, results)


def _copy(to: Tensor, source: Tensor, is_asynchronous: bool = False) -> Tensor:
    _values(to).copy_(_values(source))
    return to


def _are_alike(first: Tensor, second: Tensor) -> bool:
    return type(first) is type(second)


def _fused_sgd(
    parameters: Sequence[FarTensor],
    gradients: Sequence[FarTensor],
    momenta: Sequence[FarTensor],
    **settings: Any,
) -> None:
    near = [[each.near for each in some] for some in (parameters, gradients, momenta)]
    # Autograd lays gradients out in memory like their parameters, but not those of subclasses.
    near[1] = [torch.empty_like(to).copy_(each) for to, each in zip(*near[:2], strict=True)]
    torch.ops.aten._fused_sgd_.default(*near, **settings)


# What two devices may meet in, and what needs tensors of one layout in memory.
_SPECIAL: Mapping[Any, Callable[..., Any]] = {
    torch.ops.aten.copy_.default: _copy,
    torch.ops.aten._has_compatible_shallow_copy_type.default: _are_alike,
    torch.ops.aten._fused_sgd_.default: _fused_sgd,
}


def _operand(operand: Any) -> Any:
    is_elsewhere = isinstance(operand, Tensor) and not isinstance(operand, FarTensor)
    if is_elsewhere and operand.dim():  # a tensor without dimensions may lie anywhere
        raise RuntimeError(f"some operands are on {operand.device}, others on {FAR}")
    return _values(operand)


def _result(result: Any) -> Any:
    return FarTensor(result) if isinstance(result, Tensor) else result


def _values(operand: Any) -> Any:
    return operand.near if isinstance(operand, FarTensor) else operand


_LIBRARY = torch.library.Library("_", "IMPL")
_LIBRARY.fallback(lambda func, *args, **kwargs: _computed(func, args, kwargs), "PrivateUse1")
