"""Compare the times of network.onnx and uncut.onnx: python compare.py.

Needs numpy and onnxruntime only. The two take turns with one image on one thread; what counts is
the processor time, each behind a call that fills the caches.
"""

import time
from pathlib import Path

import numpy as np
import onnxruntime as engine

folder = Path(__file__).resolve().parent
image = {"images": np.load(folder / "example.npz")["images"][:1]}
options = engine.SessionOptions()
options.intra_op_num_threads = 1
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
off = ["WeightBiasQuantization"]  # it quantises what the file leaves float
files = [folder / "network.onnx", folder / "uncut.onnx"]
sessions = [engine.InferenceSession(f, options, disabled_optimizers=off) for f in files]
turns: list[list[int]] = [[], []]
for place in (0, 1) * 200:
    sessions[place].run(None, image)
    start = time.process_time_ns()
    sessions[place].run(None, image)
    turns[place].append(time.process_time_ns() - start)
print(f"takes {np.median(np.divide(turns[0], turns[1])):.3f} of the time of the uncut network")
