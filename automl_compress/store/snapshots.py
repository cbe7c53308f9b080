"""A searcher's state as bytes: safetensors, with the JSON values in its header."""

import json
import struct

import numpy as np
from safetensors.numpy import load, save

from automl_compress.core import Snapshot

VALUES = "values"


def to_bytes(snapshot: Snapshot) -> bytes:
    """Return the snapshot as safetensors bytes."""
    arrays = {
        name: np.array(array, order="C", copy=True) for name, array in snapshot.arrays.items()
    }
    return save(arrays, metadata={VALUES: json.dumps(dict(snapshot.values))})


def from_bytes(content: bytes) -> Snapshot:
    """Read what `to_bytes` wrote."""
    (header_length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + header_length])
    return Snapshot(json.loads(header["__metadata__"][VALUES]), load(content))
