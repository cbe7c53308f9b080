"""How much a program file may hold."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProgramLimits:
    """Bounds that are checked before what they bound is read or made.

    Attributes:
        file_bytes: of the archive, whose members are stored without compression.
        members: of the archive.
        directory_bytes: of the archive's list of members.
        json_bytes: of each JSON member.
        json_values: numbers, texts, arrays and objects of each JSON member, about.
        nodes: of the graph.
        tensors: parameters, buffers and constants.
        outputs: tensors that the network returns.
        axes: of any tensor.
        values_each: of one intermediate result, for two images.
        values_together: of all results of one forward pass on two images, operators within
            operators included.
    """

    file_bytes: int = 2_000_000_000
    members: int = 20_000
    directory_bytes: int = 4_000_000
    json_bytes: int = 64_000_000
    json_values: int = 4_000_000
    nodes: int = 6_000
    tensors: int = 10_000
    outputs: int = 100
    axes: int = 8
    values_each: int = 2**28
    values_together: int = 2**33
