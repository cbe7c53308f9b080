"""The packed file of a quantised network: what a policy's stored bytes are measured on."""

from collections.abc import Mapping

import torch
from torch import Tensor

from automl_compress.compress.packing.container import PackedTensor, pack, unpack
from automl_compress.compress.quantised_network import QuantisedNetwork
from automl_compress.core.document import PolicyDocument
from automl_compress.core.errors import DataInvalid

_FLOAT_BITS = 32
_NEUTRAL = {"weight": 1.0, "running_mean": 0.0}


def packed_bytes(network: QuantisedNetwork) -> bytes:
    """Return a quantised network's file: codes, and floats for what has none.

    Tensors of folded norms are left out; the policy document says which norms those are.

    Raises:
        InvalidInput: a tensor cannot be stored, or the coder's package is missing.
    """
    tensors: dict[str, PackedTensor] = {}
    for name, tensor in network.module.state_dict().items():
        codes = network.codes.get(name)
        if codes is not None and codes.stored_bits < _FLOAT_BITS * tensor.numel():
            tensors[name] = codes
        elif name not in network.neutral:
            tensors[name] = tensor
    return pack(tensors)


def unpacked_state(
    content: bytes, document: PolicyDocument, epsilons: Mapping[str, float]
) -> dict[str, Tensor]:
    """Return the state dict that a packed file stands for, neutral norms filled in.

    Args:
        content: of the file.
        document: of the policy that the file was made by.
        epsilons: of the network's batch norms, by module path.

    Raises:
        DataInvalid: the content is damaged, or of another network than the document's.
    """
    packed = unpack(content)
    tensors = packed.state_dict()
    for row in document.layers:
        norm = None if row.quantisation is None else row.quantisation.folded_norm
        if norm is None or f"{norm}.weight" in tensors:
            continue
        shift = tensors.get(f"{norm}.bias")
        if shift is None or norm not in epsilons:
            raise DataInvalid(
                f"the packed file has no shift for {norm!r}, which the policy folds; give the "
                "file that belongs to this policy"
            )
        for part, value in _NEUTRAL.items():
            tensors[f"{norm}.{part}"] = torch.full_like(shift, value)
        tensors[f"{norm}.running_var"] = torch.full_like(shift, 1.0 - epsilons[norm])
        tensors[f"{norm}.num_batches_tracked"] = torch.tensor(0)
    return tensors
