"""Run network.onnx on images.npy: python run.py [images.npy]. Needs numpy and onnxruntime only.

The images are float32, (B, C, H, W), normalised as for training. Without them the network runs
on the images of example.npz, and its outputs are compared with those that torch gave.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime as engine

folder = Path(__file__).resolve().parent
options = engine.SessionOptions()
options.intra_op_num_threads = 1
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
off = ["WeightBiasQuantization"]  # it quantises what the file leaves float
session = engine.InferenceSession(folder / "network.onnx", options, disabled_optimizers=off)
example = np.load(folder / "example.npz")
images = np.load(sys.argv[1]) if len(sys.argv) > 1 else example["images"]
logits = np.asarray(session.run(None, {"images": images.astype(np.float32)})[0])
print("largest output of each image:", *logits.argmax(1))
if len(sys.argv) == 1:
    expected = example["logits"]
    difference = np.sqrt(np.square(logits - expected).mean() / np.square(expected).mean())
    print(f"differs from torch by {difference:.1e} of the outputs")
    sys.exit(int(difference > example["tolerance"]))
