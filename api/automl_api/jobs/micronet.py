"""`/v1/models/{id}/micronet`: the pipeline of the MicroNet Challenge's winners, as a job."""

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field

from automl_agents import catalogue
from automl_agents.allocation.config import MicroNetConfig
from automl_agents.allocation.micronet import hand_set
from automl_agents.options import read_options
from automl_api.bodies import Identity, Name, RequestBody
from automl_api.graph_json import graph_from_json
from automl_api.jobs.requests import (
    SHORT_TEXT,
    BudgetBody,
    ConfirmationBody,
    EffortBody,
    NewJobBody,
    Priority,
    RecipeBody,
    SpaceBody,
    StudyBody,
    Tags,
)
from automl_api.jobs.schemas import JobBody
from automl_api.jobs.steering import described
from automl_api.jobs.submission import submit
from automl_api.once import IdempotencyKey
from automl_api.problem import Problem
from automl_api.service import ServiceDependency
from automl_compress.core import SpaceOptions
from automl_compress.core.confirmation import Precision
from automl_compress.core.errors import InvalidInput
from automl_compress.core.study import MOST_BUDGETS
from automl_compress.core.weight_grids import BIT_WIDTHS, FLOAT_BITS
from automl_compress.costs import compression_space
from automl_compress.store import ModelRow
from automl_compress.store import models as model_rows

router = APIRouter(prefix="/v1/models/{model_id}", tags=["jobs"])

BY_HAND = "micronet"  # the searcher that searches nothing
EDGE_BITS = 8  # of the first and the last layer of a search, and the most of the others

Share = Annotated[float, Field(gt=0, le=1)]


class NewMicroNetBody(RequestBody):
    """A network's way through the winners' stages, with ratios and bits set by hand or searched.

    searcher: `micronet` takes the winners' ratios and bits; any other searches them.
    hand_set: options of the searcher `micronet`, where the winners' values are to be others.
    shares: a search looks for a policy within each of these shares of what the hand-set one
        scores, falling; 0.95 alone unless given.
    floor_points: points of accuracy that may be lost against the uncut network, tuned alike.
    finetune_epochs: of each stage that trains. space, recipe: of the search.
    """

    dataset_id: Identity
    searcher: SHORT_TEXT = BY_HAND
    searcher_options: dict[str, Any] = Field(default_factory=dict[str, Any], max_length=100)
    evaluations: Annotated[float, Field(ge=1, le=1_000_000)] = 100
    hand_set: dict[str, Any] = Field(default_factory=dict[str, Any], max_length=20)
    shares: Annotated[list[Share], Field(min_length=1, max_length=MOST_BUDGETS)] | None = None
    floor_points: Annotated[float, Field(ge=0, le=100)] = 2.0
    finetune_epochs: Annotated[int, Field(ge=1, le=10_000)] = 2
    precision: Precision = "float32"
    space: SpaceBody | None = None
    recipe: RecipeBody | None = None
    parallelism: Annotated[int, Field(ge=1, le=256)] = 1
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    name: Name | None = None
    tags: Tags = Field(default_factory=dict[str, str])
    priority: Priority = 0

    @property
    def is_by_hand(self) -> bool:
        """Whether ratios and bits are not searched."""
        return self.searcher == BY_HAND


@router.post("/micronet", status_code=202)
def compress_in_stages(
    model_id: str,
    new: NewMicroNetBody,
    response: Response,
    service: ServiceDependency,
    idempotency_key: IdempotencyKey = None,
) -> JobBody:
    """Put the pipeline of the MicroNet winners into the queue.

    It prunes, distils, quantises inputs, quantises weights and folds; the network trains behind
    each of the middle three. `GET /v1/jobs/{job_id}/stages` has what each stage gave. The job is a
    search whose confirmation has the recipe `micronet`; what `POST /v1/jobs` takes says more.
    """
    with service.database.reading() as session:
        model = model_rows.get(session, model_id)
    how = "by hand" if new.is_by_hand else new.searcher
    job = NewJobBody(
        name=new.name or f"{model.name} {how}, in stages"[:200],
        model_id=model_id,
        dataset_id=new.dataset_id,
        study=_study(new, model),
        tags=new.tags,
        priority=new.priority,
    )
    sent = {"micronet": model_id, **new.model_dump(mode="json")}
    try:
        row = submit(service, job, idempotency_key, sent)
    except Problem as problem:
        # The fields of the study are this body's own.
        problem.errors = tuple(
            {**each, "pointer": each["pointer"].removeprefix("/study")} for each in problem.errors
        )
        raise
    response.headers["Location"] = f"/v1/jobs/{row.id}"
    return described(response, service, row.id)


def _study(new: NewMicroNetBody, model: ModelRow) -> StudyBody:
    config = _config(new)
    ratios = [1.0] if new.is_by_hand else _ratios(new, model, config)
    return StudyBody(
        searcher=new.searcher,
        budget=BudgetBody(metric="micronet", ratio=ratios[0]),
        effort=EffortBody(evaluations=new.evaluations),
        space=new.space or _space(new, config),
        recipe=new.recipe or _recipe(new),
        confirmation=ConfirmationBody(
            finetune_epochs=new.finetune_epochs,
            formats=[],
            distillation_weight=1.0,
            distillation_direction="reverse",
            recipe="micronet",
            precision=new.precision,
            floor_points=new.floor_points,
        ),
        seed=new.seed,
        parallelism=new.parallelism,
        searcher_options=dict(new.hand_set if new.is_by_hand else new.searcher_options),
        smaller_ratios=ratios[1:],
    )


def _config(new: NewMicroNetBody) -> MicroNetConfig:
    """Return the hand-set ratios and bits; raises a problem for what cannot be among them."""
    if new.is_by_hand:
        for name, value in (("shares", new.shares), ("searcher_options", new.searcher_options)):
            if value:
                raise _wrong(
                    f"/{name}",
                    f"{name} is for a search, and the searcher {BY_HAND!r} searches nothing; name "
                    f"another one, as 'auto', or leave {name} out",
                )
    try:
        catalogue.check_options(BY_HAND, new.hand_set)
    except InvalidInput as error:
        raise _wrong("/hand_set", str(error)) from error
    return read_options(BY_HAND, MicroNetConfig(), new.hand_set)


def _ratios(new: NewMicroNetBody, model: ModelRow, config: MicroNetConfig) -> list[float]:
    """Return the budgets of a search, which refer to what the hand-set policy scores."""
    told = _hand_set_space(config)
    try:
        options = SpaceOptions(
            schemes=tuple(told.schemes),
            weight_bits=tuple(told.weight_bits),
            activation_bits=tuple(told.activation_bits),
            edge_bits=told.edge_bits,
            max_element_sparsity=told.max_element_sparsity,
            density_step=told.density_step,
        )
        space = compression_space(graph_from_json(model.details["graph"]), options)
    except InvalidInput as error:
        raise _wrong("/hand_set", str(error)) from error
    score = space.costs.cost(hand_set(space, config)).micronet / space.full.micronet
    shares = [0.95] if new.shares is None else new.shares
    return [min(share * score, 1.0) for share in shares]


def _space(new: NewMicroNetBody, config: MicroNetConfig) -> SpaceBody:
    if new.is_by_hand:
        return _hand_set_space(config)
    # With fewer bits the stages end behind the hand-set policy, whatever a search says of them.
    return SpaceBody.model_validate(
        {
            "schemes": ["element"],
            "weight_bits": _bits_from(config.weight_bits),
            "activation_bits": [*_bits_from(config.activation_bits), FLOAT_BITS],
            "edge_bits": EDGE_BITS,
        }
    )


def _bits_from(least: int) -> list[int]:
    return [bits for bits in BIT_WIDTHS if least <= bits <= max(least, EDGE_BITS) < FLOAT_BITS]


def _recipe(new: NewMicroNetBody) -> RecipeBody:
    if new.is_by_hand:
        return RecipeBody(signal="kl")
    return RecipeBody(signal="kl", repair="distillation")


def _hand_set_space(config: MicroNetConfig) -> SpaceBody:
    """Return a space that holds the hand-set policy."""
    return SpaceBody.model_validate(
        {
            "schemes": ["element"],
            "weight_bits": sorted({config.weight_bits, config.last_weight_bits, 32}),
            "activation_bits": sorted({config.activation_bits, 32}),
            "edge_bits": None,
            "density_step": 1,
            "max_element_sparsity": max(config.sparsity, config.last_sparsity, 0.9),
        }
    )


def _wrong(pointer: str, detail: str) -> Problem:
    return Problem(422, "invalid", detail, errors=[{"pointer": pointer, "detail": detail}])
