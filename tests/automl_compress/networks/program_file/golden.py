"""Programs as each version of torch has written them, kept to be read by later ones.

`python -m tests.automl_compress.networks.program_file.golden` adds those of the installed torch.
"""

import gzip
import re
from pathlib import Path

import torch
from torch import nn

from tests.automl_compress.networks.program_file.archives import GRAPH, archive_of, members_of
from tests.automl_compress.networks.program_file.networks import GOLDEN, program_of, settled

FOLDER = Path(__file__).with_name("golden")
KINDS = (
    "ResNet-20",
    "MobileNetV2",
    "DenseNet-BC",
    "squeeze and excite",
    "Vision Transformer",
    "one dimension",
)


def coarse(module: nn.Module) -> nn.Module:
    """Round all floats to 32nds: random ones would hardly compress."""
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_((32 * tensor).round() / 32)
    return module


def without_folders(content: bytes) -> bytes:
    """Leave out of the lines of source where this machine keeps them."""
    members = members_of(content)
    members[GRAPH] = re.sub(
        rb'File \\"/[^"]*?/(?=(?:tests|automl_compress|torch)/)', rb'File \\"', members[GRAPH]
    )
    return archive_of(members)


def main() -> None:
    """Write one file for each kind of network, with any number of images."""
    FOLDER.mkdir(exist_ok=True)
    version = ".".join(torch.__version__.split(".")[:2])
    for name in KINDS:
        torch.manual_seed(0)
        golden = GOLDEN[name]
        content = without_folders(program_of(coarse(settled(golden.build())), golden.shape))
        path = FOLDER / f"{name.lower().replace(' ', '-')}.torch-{version}.pt2.gz"
        path.write_bytes(gzip.compress(content, 9, mtime=0))
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
