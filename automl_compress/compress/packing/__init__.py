"""The packed network: one file of coded, sparse and plain tensors, at their entropy."""

from automl_compress.compress.packing.container import PackedNetwork, pack, unpack
from automl_compress.compress.packing.packed_network import packed_bytes, unpacked_state

__all__ = ["PackedNetwork", "pack", "packed_bytes", "unpack", "unpacked_state"]
