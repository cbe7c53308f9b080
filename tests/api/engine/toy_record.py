"""What child processes of a toy job's pool evaluate; a module that imports little."""

import time
from dataclasses import dataclass
from pathlib import Path

from automl_compress.core import Measurement, Policy
from automl_compress.core.canonical import digest
from tests.fakes import FormulaEvaluator, residual_graph, space_of


@dataclass(frozen=True)
class ToyRecord:
    """Builds an evaluator that takes so long, or does what a file named by the policy says."""

    seconds: float
    folder: Path

    def build(self) -> "ToyRecord":
        return self

    def evaluate(self, policy: Policy, images: slice | None = None) -> Measurement:
        illness = self.illness(policy)
        match illness.read_text() if illness.exists() else "":
            case "hangs":
                time.sleep(600)
            case "eats":
                eaten = [(b"x" * 100_000_000, time.sleep(0.05)) for _ in range(50)]
                raise MemoryError(len(eaten))
            case "fails":
                raise ValueError(f"{self.folder}/data/files/0a.npz: this policy divides by zero")
            case _:
                time.sleep(self.seconds)
        return FormulaEvaluator(space_of(residual_graph())).evaluate(policy, images)

    def illness(self, policy: Policy) -> Path:
        name = digest(policy.to_json()).removeprefix("sha256:")
        return self.folder / f"{name}.ill"
