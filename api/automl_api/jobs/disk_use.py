"""What the files of a job will take, before it is submitted."""

from automl_compress.core import Cost, StudySpec

_KIB = 1024
# In networks of the uncut one's size, and bytes for each layer: of a graph, a program, a table.
# Seen of ResNet-20: 0, 6, 9 and 0 KiB, and 1 KiB in a document.
_TAKES = {
    "onnx": (1, 2 * _KIB),
    "openvino": (1, 10 * _KIB),
    "pt2": (1, 14 * _KIB),
    "bundle": (2, 4 * _KIB),  # weights and ONNX side by side
}
_WEIGHTS = (1, _KIB)  # of the network itself, and of the packed one
_DOCUMENTS = (0, 4 * _KIB)


def disk_bytes(study: StudySpec, uncut: Cost, layers: int) -> int:
    """Return the most that the files of a job's policies take, trials and events aside.

    Args:
        study: says how many policies are confirmed, and in which formats.
        uncut: of the whole network; a policy may keep nearly all of it.
        layers: of the network.
    """
    confirmation = study.confirmation
    written = [_DOCUMENTS, _WEIGHTS, *(_TAKES[each] for each in confirmation.formats)]
    if study.space.has_layer_decisions:
        written.append(_WEIGHTS)
    each_bytes = sum(networks * uncut.size_bytes + size * layers for networks, size in written)
    return confirmation.top_k * len(study.budgets) * each_bytes
