"""Engines on this machine's processor whose latency is measured here."""

from typing import Literal, get_args

Target = Literal["cpu-onnxruntime", "cpu-openvino"]
TARGETS: tuple[Target, ...] = get_args(Target)
