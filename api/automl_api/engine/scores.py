"""What the test split says, each time once: what is stored is not measured again.

A tuned network is on the disk before it is scored, and its scores are in the job's events behind
it. A confirmation that was interrupted, by a kill or a full disk, goes on from there.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from automl_api.engine.pipeline import OwnedJob
from automl_compress.core import Measurement, Policy, Trial
from automl_compress.core.document import PACKED_SUFFIX
from automl_compress.core.json_field import JsonField
from automl_compress.core.layer_rows import LayerQuantisation
from automl_compress.evaluate.confirm import Confirmer, UncutScores
from automl_compress.evaluate.tuned_network import TunedNetwork
from automl_compress.export.documents import network_bytes
from automl_compress.store import WrittenFile, events
from automl_compress.store.baselines import confirmed_before

BASELINE, TRIAL = "baseline.confirmed", "trial.confirmed"


@dataclass(frozen=True)
class Scored:
    """A confirmed trial; the fields are those of `Confirmed`, the network is in stored files.

    packed: where layers are quantised or sparse. quantisation: by layer.
    """

    trial: Trial
    policy: Policy
    measurement: Measurement
    search: Measurement
    network: WrittenFile
    packed: WrittenFile | None
    quantisation: Mapping[str, LayerQuantisation]


class Scores:
    """Takes the scores of one job, or finds them stored."""

    def __init__(self, job: OwnedJob, confirmer: Confirmer, tuning: dict[str, Any]) -> None:
        """Read what is stored.

        Args:
            job: in the state `finalizing`, or later.
            confirmer: of its study.
            tuning: all that tells one tuning from another.
        """
        self._job, self._confirmer, self._tuning = job, confirmer, tuning
        with job.database.reading() as session:
            told = events.of_kinds(session, job.job_id, (BASELINE, TRIAL))
            self._told = {(each.kind, each.data.get("number")): each.data for each in told}

    def baseline(self) -> tuple[UncutScores, str]:
        """Return what the uncut network scores, tuned alike, and the job that scored it."""
        stored = self._told.get((BASELINE, None))
        if stored is None:
            stored = self._new_baseline()
            self._job.publish(BASELINE, stored)
        test, search = stored["test"], stored.get("search")
        searched = None if search is None else Measurement.from_json(search)
        return UncutScores(Measurement.from_json(test), searched), stored["job_id"]

    def _new_baseline(self) -> dict[str, Any]:
        row = self._job.row()
        fingerprint = row.spec["model"].get("fingerprint")
        if fingerprint is not None:
            with self._job.database.reading() as session:
                earlier = confirmed_before(session, row.data_id, fingerprint, self._tuning)
            if earlier is not None:
                return {"job_id": earlier[0], **earlier[1]}
        scores = self._confirmer.uncut_scores()
        search = None if scores.search is None else scores.search.to_json()
        return {"job_id": row.id, "test": scores.test.to_json(), "search": search}

    def confirmed(self, trial: Trial) -> Scored:
        """Return a trial's scores and its tuned network.

        Raises:
            ModelInvalid: the cut network costs more than the budget allows.
            StorageFailed: the disk did not take the network; nothing was scored then.
        """
        stored = self._told.get((TRIAL, trial.number))
        if stored is None or not self._has_files(stored):
            stored = self._newly_confirmed(trial)
        return Scored(
            trial,
            Policy.from_json(stored["policy"]),
            Measurement.from_json(stored["test"]),
            Measurement.from_json(stored["search"]),
            WrittenFile(**stored["network"]),
            None if stored["packed"] is None else WrittenFile(**stored["packed"]),
            {
                name: LayerQuantisation.read(name, JsonField(row))
                for name, row in stored["quantisation"].items()
            },
        )

    def _has_files(self, stored: dict[str, Any]) -> bool:
        files = (stored["network"], stored["packed"])
        return all(self._job.files.path_of(each["path"]).is_file() for each in files if each)

    def _newly_confirmed(self, trial: Trial) -> dict[str, Any]:
        path = f"artifacts/{self._job.job_id}/network-trial-{trial.number}"
        written: list[WrittenFile] = []

        def keep(network: TunedNetwork) -> None:
            content = network_bytes(network.module)
            written.append(self._job.files.write(f"{path}.safetensors", [content]))
            if network.packed is not None:
                written.append(self._job.files.write(f"{path}{PACKED_SUFFIX}", [network.packed]))

        found = self._confirmer.confirm(trial, keep)
        told: dict[str, Any] = {
            "number": trial.number,
            "policy": found.policy.to_json(),
            "test": found.measurement.to_json(),
            "search": found.search.to_json(),
            "network": asdict(written[0]),
            "packed": asdict(written[1]) if len(written) > 1 else None,
            "quantisation": {
                name: row.to_json() for name, row in found.network.quantisation.items()
            },
        }
        self._job.publish(TRIAL, told)
        return told
