"""Bodies of `/v1/policies`."""

from automl_api.bodies import Moment, ResponseBody
from automl_compress.store import PolicyRow


class PolicyBody(ResponseBody):
    """A stored policy document, by what tells it from others; GET gives the document.

    job_id, trial_number: null where a user brought it.
    weights_file_id: of the weights that came with it.
    """

    id: str
    job_id: str | None
    trial_number: int | None
    model_id: str | None
    weights_file_id: str | None
    digest: str | None
    created: Moment


def policy_body(row: PolicyRow) -> PolicyBody:
    """Describe a policy's row."""
    return PolicyBody(
        id=row.id,
        job_id=row.job_id,
        trial_number=row.trial_number,
        model_id=row.model_id,
        weights_file_id=row.weights_file_id,
        digest=row.digest,
        created=row.created_at,
    )
