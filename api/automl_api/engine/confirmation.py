"""The end of a job: the best trials are confirmed, and everything is written into files."""

import copy
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from automl_api.engine.exports import Artifact, Exportable, write_exports
from automl_api.engine.pipeline import Finished, FoundPolicy, OwnedJob
from automl_api.engine.reports import bundle_report
from automl_api.engine.scores import Scored, Scores
from automl_api.engine.stages import JobStages
from automl_compress import __version__
from automl_compress.compress.apply import apply_policy
from automl_compress.core import Measurement, StudySpec, Trial
from automl_compress.core.document import PACKED_SUFFIX, ModelReference, PolicyDocument, RepairNote
from automl_compress.costs import LatencyTable
from automl_compress.data.datasets import ImageData
from automl_compress.evaluate.confirm import Confirmer, UncutScores
from automl_compress.evaluate.execution import execution_change
from automl_compress.evaluate.ranking import accuracy_floor, best_first
from automl_compress.evaluate.study_latency import finalist_latencies
from automl_compress.export.documents import model_reference, policy_document
from automl_compress.networks.trace import Network
from automl_compress.store.artifacts import NewArtifact
from automl_compress.store.ids import new_id
from automl_compress.store.tables import now
from automl_compress.train.pruning_net import TrainedPruningNet


@dataclass(frozen=True)
class Contest:
    """A job whose study has ended."""

    job: OwnedJob
    network: Network
    data: ImageData
    study: StudySpec
    trials: Sequence[Trial]
    trained: TrainedPruningNet | None = None
    table: LatencyTable | None = None

    def model(self) -> ModelReference:
        """Describe the uncut network."""
        source = self.job.row().spec["model"]
        return model_reference(
            self.network,
            source.get("name", source["architecture"]),
            source["architecture"],
            source.get("config"),
            source.get("id"),
        )


@dataclass(frozen=True)
class _Stored:
    """A confirmed trial, its document and its files; exports: how each format was checked."""

    confirmed: Scored
    document: FoundPolicy
    artifacts: tuple[Artifact, ...]
    exports: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {
            "policy_id": self.document.policy_id,
            "trial_number": self.confirmed.trial.number,
            "test": self.confirmed.measurement.to_json(),
            "search": self.confirmed.search.to_json(),
            "artifacts": [new.name for new, _ in self.artifacts],
            "exports": self.exports,
        }


def confirm(contest: Contest, stop_reason: str, go_on: Callable[[], None]) -> Finished:
    """Confirm the best trials within each budget and write the artifacts.

    The search split says which of them is the best, and which keep to the study's floor; the test
    split, which nothing before has touched, says how good each is.

    Args:
        contest: the job.
        stop_reason: how its study ended.
        go_on: called often; what it raises ends the confirmation.
    """
    net = None if contest.trained is None else contest.trained.net
    parts = contest.network, contest.data, contest.study
    stages = JobStages(contest.job)
    confirmer = Confirmer(*parts, go_on, net, contest.table, stages)
    tuning = {**confirmer.tuning, "version": __version__}
    scores = Scores(contest.job, confirmer, tuning)
    uncut, told_by = scores.baseline()
    finalists = [scores.confirmed(trial) for trial in confirmer.finalists(contest.trials)]
    confirmed = best_first(finalists, lambda each: each.search, contest.study, uncut.search)
    stored = _store(contest, confirmed, uncut.test, go_on)
    result = {
        "policy_id": stored[0].document.policy_id,
        "policies": [each.to_json() for each in stored],
        "baseline": uncut.test.to_json(),
        "baseline_job_id": told_by,
        "tuning": tuning,
        **_floor(contest.study, uncut),
    }
    report = _write_json(contest, "report.json", "report", _report(contest, stop_reason, result))
    artifacts = [artifact for each in stored for artifact in each.artifacts]
    documents = [each.document for each in stored]
    return Finished(result, stop_reason, documents, [*artifacts, report])


def _floor(study: StudySpec, uncut: UncutScores) -> dict[str, Any]:
    """Say what a study that has stages asked of accuracy, on search and on test images."""
    if uncut.search is None:
        return {}
    floors = {
        "search": accuracy_floor(study, uncut.search),
        "test": accuracy_floor(study, uncut.test),
    }
    told = None if study.confirmation.floor_points is None else floors
    return {"baseline_search": uncut.search.to_json(), "accuracy_floor": told}


def _store(
    contest: Contest,
    confirmed: Sequence[Scored],
    baseline: Measurement,
    go_on: Callable[[], None],
) -> list[_Stored]:
    documents = _documents(contest, confirmed, baseline)
    reports = _reports(contest, confirmed, baseline)
    policies = [
        Exportable(document, each.network, "" if rank == 0 else f"-{rank + 1}", report)
        for rank, (each, document, report) in enumerate(
            zip(confirmed, documents, reports, strict=True)
        )
    ]
    exports = write_exports(contest.job, policies, contest.study.confirmation.formats, go_on)
    stored: list[_Stored] = []
    for each, policy, exported in zip(confirmed, policies, exports, strict=True):
        content = policy.document.to_json()
        artifacts = (
            (_new(contest, f"network{policy.suffix}.safetensors", "network"), each.network),
            _write_json(contest, f"policy{policy.suffix}.json", "policy", content),
            *exported.artifacts,
        )
        if each.packed is not None:
            packed = _new(contest, f"network{policy.suffix}{PACKED_SUFFIX}", "packed")
            artifacts = (*artifacts, (packed, each.packed))
        row = FoundPolicy(content["id"], each.trial.number, content)
        stored.append(_Stored(each, row, artifacts, exported.notes))
    return stored


def _reports(
    contest: Contest, confirmed: Sequence[Scored], baseline: Measurement
) -> list[bytes | None]:
    """Return the reports that bundles hold, before the job's result is there."""
    if "bundle" not in contest.study.confirmation.formats:
        return [None] * len(confirmed)
    told = [
        {"trial_number": each.trial.number, "test": each.measurement.to_json()}
        for each in confirmed
    ]
    result = {"policies": told, "baseline": baseline.to_json()}
    job = contest.job.row()
    with contest.job.database.reading() as session:
        return [bundle_report(session, job, each.trial.number, result) for each in confirmed]


def _documents(
    contest: Contest, confirmed: Sequence[Scored], baseline: Measurement
) -> list[PolicyDocument]:
    """Write the confirmed policies down, with how their networks run and how fast."""
    documents = [_document(contest, each, baseline) for each in confirmed]
    files = contest.job.files
    networks = [
        apply_policy(
            copy.deepcopy(contest.network.module), document, files.path_of(each.network.path)
        )
        for each, document in zip(confirmed, documents, strict=True)
    ]
    train = contest.data.split("train")
    executions = [
        execution_change(contest.network, document, network, train)
        for document, network in zip(documents, networks, strict=True)
    ]
    latencies = finalist_latencies(contest.network, contest.study, networks)
    return [
        replace(
            document,
            latency=None if latency is None else latency.to_json(),
            execution=execution,
        )
        for document, latency, execution in zip(documents, latencies, executions, strict=True)
    ]


def _document(contest: Contest, confirmed: Scored, baseline: Measurement) -> PolicyDocument:
    proxy, study = confirmed.trial.measurement, contest.study
    assert proxy is not None
    return policy_document(
        contest.network,
        contest.model(),
        confirmed.policy,
        (confirmed.measurement, confirmed.search, proxy),
        (baseline,),
        _repair_note(study, confirmed),
        _provenance(contest, confirmed.trial),
        confirmed.quantisation,
        table=contest.table,
        identity=new_id("pol"),
        created=now().strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _new(contest: Contest, name: str, kind: str) -> NewArtifact:
    return NewArtifact(contest.job.job_id, name, kind, "application/octet-stream")


def _repair_note(study: StudySpec, confirmed: Scored) -> RepairNote:
    is_tuned, packed = study.confirmation.finetune_epochs > 0, confirmed.packed
    return RepairNote(
        "fine-tuned" if is_tuned else study.recipe.repair,
        f"sha256:{confirmed.network.sha256}",
        None if packed is None else f"sha256:{packed.sha256}",
    )


def _provenance(contest: Contest, trial: Trial) -> dict[str, Any]:
    row = contest.job.row()
    confirmed_by = {} if row.search_id is None else {"confirmation_job_id": row.id}
    return {
        "job_id": row.search_id or row.id,
        **confirmed_by,
        "trial_number": trial.number,
        "searcher": contest.study.searcher,
        "seed": contest.study.seed,
        "data": contest.data.name,
        "normalisation": contest.data.normalisation.to_json(),
        "versions": {"automl-compress": __version__},
    }


def _report(contest: Contest, stop_reason: str, result: dict[str, Any]) -> dict[str, Any]:
    row = contest.job.row()
    return {
        "job_id": row.id,
        "name": row.name,
        "spec": row.spec,
        "stop_reason": stop_reason,
        "trials": row.trials_done,
        "evaluations": row.evaluations,
        "search_seconds": row.elapsed_seconds,
        "uncut_on_search_images": row.baseline,
        "pruning_net": None if contest.trained is None else contest.trained.to_json(),
        **result,
    }


def _write_json(contest: Contest, name: str, kind: str, content: dict[str, Any]) -> Artifact:
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    return _write(contest, name, kind, "application/json", [text.encode()])


def _write(
    contest: Contest, name: str, kind: str, media_type: str, chunks: Iterable[bytes]
) -> Artifact:
    written = contest.job.files.write(f"artifacts/{contest.job.job_id}/{name}", chunks)
    return NewArtifact(contest.job.job_id, name, kind, media_type), written
