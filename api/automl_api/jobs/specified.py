"""The study that a request describes."""

from automl_api.jobs.requests import StudyBody
from automl_api.problem import refuse
from automl_api.system.capabilities import installation
from automl_compress.core import SpaceOptions, StudySpec
from automl_compress.core.errors import InvalidInput, UnknownName


def specified(study: StudyBody) -> StudySpec:
    """Return the study that a request describes.

    Raises:
        Problem: its space cannot be, or names a quantiser or a criterion that there is not.
        InvalidInput: other values that are not allowed.
    """
    if study.space is not None:
        try:
            space = SpaceOptions.from_json(study.space.model_dump(exclude_unset=True))
        except UnknownName as error:
            refuse(f"/study/space/{error.kind}", "unknown-name", str(error))
        except InvalidInput as error:
            refuse("/study/space", "invalid", str(error))
        # The default exists; to know the others, torch is asked.
        if space.criterion != SpaceOptions().criterion:
            known = installation()["criteria"]
            if space.criterion not in known:
                error = UnknownName("criterion", space.criterion, known)
                refuse("/study/space/criterion", "unknown-name", str(error))
    return study.specification()
