"""The test split is scored once, however often a confirmation is interrupted."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from automl_api.engine.confirmation import Contest, confirm
from automl_api.engine.pipeline import OwnedJob
from automl_compress.core import (
    Budget,
    CompressionSpace,
    Confirmation,
    Cost,
    Effort,
    Recipe,
    SpaceOptions,
    StudySpec,
    Trial,
    TrialState,
)
from automl_compress.core.errors import StorageFailed
from automl_compress.costs import compression_space
from automl_compress.data.datasets import Split
from automl_compress.data.loading import load_data
from automl_compress.evaluate import tuned_network
from automl_compress.networks.architectures import build_network, load_weights
from automl_compress.networks.trace import trace
from automl_compress.store import ArtifactFiles, Database, WrittenFile, jobs
from automl_compress.train.demo import DEMO_ARCHITECTURE, DEMO_CONFIG, DEMO_WEIGHTS
from tests.automl_compress.store.conftest import new_job
from tests.fakes import measurement_of

STUDY = StudySpec(
    "random",
    Budget("macs", 0.5),
    Effort(2),
    recipe=Recipe(images=64, calibration_images=64),
    confirmation=Confirmation(top_k=2, finetune_epochs=0, formats=()),
)


@pytest.fixture
def contest(tmp_path: Path) -> Iterator[Contest]:
    database = Database(f"sqlite:///{tmp_path}/database.sqlite")
    database.upgrade()
    new = new_job(database)
    new.spec.clear()
    new.spec.update(model={"architecture": DEMO_ARCHITECTURE}, study=STUDY.to_json())
    with database.session() as session:
        row = jobs.create(session, new)
        jobs.claim(session, row.id, row.attempt, "here")
    module = build_network(DEMO_ARCHITECTURE, DEMO_CONFIG)
    load_weights(module, DEMO_WEIGHTS)
    network = trace(module, (1, 8, 8))
    space = compression_space(network.graph, SpaceOptions())
    job = OwnedJob(row.id, "here", database, ArtifactFiles(tmp_path / "data"))
    trials = [trial(space, number, keep) for number, keep in enumerate((0.5, 0.6))]
    yield Contest(job, network, load_data("digits"), STUDY, trials)
    database.close()


def trial(space: CompressionSpace, number: int, keep: float) -> Trial:
    policy = space.policy(space.repair([keep] * len(space.graph.groups), STUDY.budget))
    measurement = replace(measurement_of(Cost(1, 1, 1, 1), 0.9), recipe=STUDY.recipe)
    return Trial(number, policy, state=TrialState.COMPLETE, measurement=measurement)


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each split was scored."""
    counted: Counter[str] = Counter()
    evaluate_accuracy = tuned_network.evaluate_accuracy

    def counting(module: nn.Module, split: Split) -> tuple[int, int]:
        counted[split.provenance] += 1
        return evaluate_accuracy(module, split)

    monkeypatch.setattr(tuned_network, "evaluate_accuracy", counting)
    return counted


def refuse(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Let the disk take no file whose name contains this."""
    write = ArtifactFiles.write

    def full(files: ArtifactFiles, path: str, chunks: Any) -> WrittenFile:
        if part in path:
            raise StorageFailed("the disk is full")
        return write(files, path, chunks)

    monkeypatch.setattr(ArtifactFiles, "write", full)


@pytest.mark.parametrize("refused", ["policy.json", "network-trial-1", "report.json"])
def test_a_confirmation_that_the_disk_interrupted_scores_nothing_twice(
    contest: Contest, scored: Counter[str], monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    with monkeypatch.context() as patched:
        refuse(patched, refused)
        with pytest.raises(StorageFailed):
            confirm(contest, "completed", lambda: None)

    finished = confirm(contest, "completed", lambda: None)

    test = contest.data.split("test").provenance
    assert scored[test] == 3  # the uncut network and two policies
    names = [new.name for new, _ in finished.artifacts]
    assert {"network.safetensors", "network-2.safetensors"} <= set(names)
    for _, written in finished.artifacts:
        assert contest.job.files.path_of(written.path).stat().st_size == written.size_bytes


def test_nothing_is_scored_of_a_network_that_could_not_be_kept(
    contest: Contest, scored: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "network-trial")

    with pytest.raises(StorageFailed):
        confirm(contest, "completed", lambda: None)

    assert scored[contest.data.split("test").provenance] == 1  # the uncut network


def test_a_network_that_was_removed_is_made_again(contest: Contest) -> None:
    first = confirm(contest, "completed", lambda: None)
    for _, written in first.artifacts:
        contest.job.files.path_of(written.path).unlink()

    second = confirm(contest, "completed", lambda: None)

    digests = [
        [written.sha256 for new, written in finished.artifacts if new.kind == "network"]
        for finished in (first, second)
    ]
    assert digests[0] == digests[1]
