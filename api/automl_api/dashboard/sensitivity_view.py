"""The curves of what cutting one group alone costs, where jobs measured them."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from automl_api.models.sensitivity import SensitivityBody, sensitivity_body
from automl_compress.core.errors import NotFound
from automl_compress.store import ModelRow
from automl_compress.store import datasets as dataset_rows
from automl_compress.store import probes as probe_rows


@dataclass(frozen=True)
class SensitivityView:
    """A profile, and what the data are called that it was measured on."""

    profile: SensitivityBody
    dataset_name: str


def sensitivity_view(
    session: Session, model: ModelRow, dataset_id: str | None = None
) -> SensitivityView | None:
    """Return the profile of a network with curves; None where no job measured one.

    Args:
        session: the transaction.
        model: whose profile.
        dataset_id: on these data; None takes those of the most complete profile.
    """
    try:
        found = sensitivity_body(model, probe_rows.of_model(session, model.id, dataset_id))
    except NotFound:
        return None
    if not any(curve.points for curve in found.groups):
        return None
    return SensitivityView(found, dataset_rows.get(session, found.dataset_id).name)
