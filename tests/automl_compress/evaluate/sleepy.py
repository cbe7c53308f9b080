"""A network for trials that never end, importable by the processes that evaluate it."""

import time

from torch import Tensor, nn

HANGS = 2  # channels at which a forward pass of more than four images sleeps for ten minutes


class Sleepy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 6, 3)
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        # What depends on the images cannot be exported, so this very code runs in every trial.
        if float(x.detach().mean()) < 1e9 and self.convolution.out_channels == HANGS:
            # Tracing looks at four images at most.
            time.sleep(600 if len(x) > 4 else 0)
        return self.linear(self.convolution(x).relu().mean((2, 3)))


class Broken(Sleepy):
    """Cannot be traced in the child, though it could be sent there."""

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("no forward pass today")
