"""What a searcher is built from, made of a network, its data and a study."""

from itertools import islice

from automl_compress.compress.criteria import channel_scores
from automl_compress.core import CompressionSpace, SearchProblem, StudySpec
from automl_compress.data.datasets import ImageData
from automl_compress.networks.trace import Network


def search_problem(
    network: Network, data: ImageData, space: CompressionSpace, study: StudySpec
) -> SearchProblem:
    """Return the problem; channels are scored on the recipe's calibration images when asked for."""

    def importance() -> list[list[float]]:
        size = study.recipe.batch_size
        batches = data.split("train").batches(size)
        calibration = islice(batches, -(-study.recipe.calibration_images // size))
        scores = channel_scores(network, space.options.criterion, calibration, study.recipe.seed)
        return [each.tolist() for each in scores]

    recipe = study.recipe
    calibration = min(recipe.calibration_images, len(data.split("train")))
    return SearchProblem(
        space,
        study.budget,
        study.effort,
        study.seed,
        importance,
        images=recipe.images or len(data.split("search")),
        repair_images=recipe.repair_passes * calibration,
        smaller_ratios=study.smaller_ratios,
        accuracy_floor=study.accuracy_floor,
        recipe=recipe,
    )
