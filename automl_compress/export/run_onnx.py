"""Run network.onnx on images.npy: python run.py [images.npy]. Needs numpy and onnxruntime only.

The images are float32, (B, C, H, W), normalised as for training. Without them the network runs
on the images of example.npz, and its outputs are compared with those that torch gave; then it takes
turns with uncut.onnx, where that is here, and the processor time of one image is compared.
"""

import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as engine


def load(name: str) -> engine.InferenceSession:
    """Load a file for one thread."""
    options = engine.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    off = ["WeightBiasQuantization"]  # it quantises what the file leaves float
    return engine.InferenceSession(folder / name, options, disabled_optimizers=off)


def took(session: engine.InferenceSession) -> int:
    """Return the processor time of one image, behind a call that fills the caches."""
    session.run(None, {"images": example["images"][:1]})
    start = time.process_time_ns()
    session.run(None, {"images": example["images"][:1]})
    return time.process_time_ns() - start


folder = Path(__file__).resolve().parent
example, network = dict(np.load(folder / "example.npz")), load("network.onnx")
images = np.load(sys.argv[1]) if len(sys.argv) > 1 else example["images"]
logits = np.asarray(network.run(None, {"images": images.astype(np.float32)})[0])
print("largest output of each image:", *logits.argmax(1))
if len(sys.argv) == 1:
    expected = example["logits"]
    difference = np.sqrt(np.square(logits - expected).mean() / np.square(expected).mean())
    print(f"differs from torch by {difference:.1e} of the outputs")
    if (folder / "uncut.onnx").exists():
        uncut = load("uncut.onnx")
        ratio = np.median([took(network) / took(uncut) for _ in range(200)])
        print(f"takes {ratio:.3f} of the time of the uncut network")
    sys.exit(int(difference > example["tolerance"]))
