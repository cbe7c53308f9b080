"""What the uncut network of a search costs."""

from automl_compress.core.budget import counted
from automl_compress.store import JobRow, ModelRow


def uncut_costs(job: JobRow, model: ModelRow) -> dict[str, int]:
    """Return it by metric, as the search counts it: with its target's latency, where it has one.

    Before a worker has profiled the job it is what is known of the network alone. What nobody
    counted is left out.
    """
    return counted((job.baseline or {}).get("cost", model.details["totals"]))
