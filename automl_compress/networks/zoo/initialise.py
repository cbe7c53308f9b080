"""How fresh networks of the zoo are initialised."""

from torch import nn


def initialise(network: nn.Module) -> None:
    """Draw convolutions and linear layers from N(0, 2 / fan_in), with biases zero, in place.

    Batch normalisations keep torch's start: scale 1, shift 0.

    Source: He et al. 2015, "Delving Deep into Rectifiers", section 2.2, equation 10. Fan-in, not
    fan-out, since it is also right for depthwise convolutions, whose fan-out torch overstates.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
