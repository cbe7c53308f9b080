"""The parameter-free shortcut of CIFAR ResNets (He et al. 2016, section 4.2, option A)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ZeroPadShortcut(nn.Module):
    """Subsamples the input and places its channels among zero channels.

    `source[j]` names the input channel that output channel `j` shows, or `in_channels` where
    it shows zero. Keeping the map as a tensor, not as two padding widths, lets both sides be
    cut independently: a cut network only has another map.

    The buffer is not persistent, so state dicts keep the keys of the published networks.
    """

    source: Tensor

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        """Centre `in_channels` among `out_channels`, (out - in) / 2 zero channels each side."""
        super().__init__()
        if out_channels < in_channels:
            raise ValueError(
                f"out_channels {out_channels} must be at least in_channels {in_channels}"
            )
        self.in_channels, self.out_channels, self.stride = in_channels, out_channels, stride
        source = torch.full((out_channels,), in_channels, dtype=torch.int64)
        first = (out_channels - in_channels) // 2
        source[first : first + in_channels] = torch.arange(in_channels)
        self.register_buffer("source", source, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, ceil(H/stride), ceil(W/stride))."""
        x = x[:, :, :: self.stride, :: self.stride]
        # One zero channel behind the last serves every output channel that has no source.
        return F.pad(x, (0, 0, 0, 0, 0, 1)).index_select(1, self.source)
