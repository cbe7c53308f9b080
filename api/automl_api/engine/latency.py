"""The latency table of a job: taken from the tables, or measured once and kept there."""

from automl_api.engine.pipeline import OwnedJob
from automl_compress.core import StudySpec
from automl_compress.costs import LatencyTable, compression_space
from automl_compress.evaluate.latency import engine_of, processor_name
from automl_compress.evaluate.latency_tables import is_table_of
from automl_compress.evaluate.study_latency import local_target, study_table
from automl_compress.export.engines import version_of
from automl_compress.networks.trace import Network
from automl_compress.store import JobState, events, targets

READY = "latency_table.ready"


def job_table(
    job: OwnedJob, network: Network, study: StudySpec, search_id: str | None = None
) -> LatencyTable | None:
    """Return the table of a job's target; None where its study has none.

    A table that this or another job measured for the same network, engine, processor and widths
    serves again; a job keeps its table, whichever worker goes on with it.

    Args:
        job: whose study it is.
        network: the uncut network, traced.
        study: names the target.
        search_id: of the search whose table counts, where it is not the job's own.

    Raises:
        NotFound: the target was deleted.
        InvalidInput: its engine is not installed here, or it lacks times for a layer.
        JobTaken: the job was paused or cancelled meanwhile.
    """
    if study.target is None:
        return None
    target = local_target(study.target)
    target_id = _known(job, search_id or job.job_id) if target is not None else study.target
    if target_id is not None:
        with job.database.reading() as session:
            return LatencyTable.from_json(targets.get(session, target_id).latency_table)
    job.enter(JobState.PROFILING)
    found = _measured_before(job, network, study)
    if found is None:
        table = study_table(network, study, job.go_on)
        assert table is not None
        found = _kept(job, network, table)
    job.publish(READY, {"target_id": found[0], "entries": found[1].entries})
    return found[1]


def _known(job: OwnedJob, job_id: str) -> str | None:
    with job.database.reading() as session:
        told = events.of_kinds(session, job_id, (READY,))
    return told[-1].data["target_id"] if told else None


def _measured_before(
    job: OwnedJob, network: Network, study: StudySpec
) -> tuple[str, LatencyTable] | None:
    target = local_target(study.target)
    assert target is not None
    here = processor_name(), version_of(engine_of(target))
    space = compression_space(network.graph, study.space)
    account, fingerprint = job.row().account, network.graph.fingerprint
    with job.database.reading() as session:
        for row in targets.measured_for(session, account, fingerprint, target, study.latency_batch):
            table = LatencyTable.from_json(row.latency_table)
            if (row.processor, row.engine_version) == here and is_table_of(table, space):
                return row.id, table
    return None


def _kept(job: OwnedJob, network: Network, table: LatencyTable) -> tuple[str, LatencyTable]:
    row = job.row()
    with job.database.session() as session:
        kept = targets.add(
            session,
            name=f"{table.target}, for {row.spec['model'].get('name', row.name)}",
            latency_table=table.to_json(),
            graph_fingerprint=network.graph.fingerprint,
            account=row.account,
        )
        # Read again: what is stored is rounded, and every process is to count alike.
        return kept.id, LatencyTable.from_json(kept.latency_table)
