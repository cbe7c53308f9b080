"""The whole job in one call, for notebooks and scripts: no server, no queue, no files."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from torch import nn

from automl_compress.compress.pruning_net import PruningNet
from automl_compress.core import (
    CompressionSpace,
    Executor,
    Searcher,
    SearchProblem,
    StudySpec,
    Trial,
)
from automl_compress.core.document import PolicyDocument, RepairNote
from automl_compress.core.errors import InvalidInput
from automl_compress.costs import LatencyTable, compression_space
from automl_compress.data.datasets import ImageData, check_fits
from automl_compress.data.loading import load_data
from automl_compress.evaluate.confirm import Confirmed, Confirmer
from automl_compress.evaluate.evaluator import EvaluatorRecord, PolicyEvaluator
from automl_compress.evaluate.execution import execution_change
from automl_compress.evaluate.latency import LatencyMeasurement
from automl_compress.evaluate.limits import TrialLimits
from automl_compress.evaluate.pool import EvaluationPool
from automl_compress.evaluate.problem import search_problem
from automl_compress.evaluate.ranking import best_first
from automl_compress.evaluate.study_latency import finalist_latencies, study_table
from automl_compress.export.documents import model_reference, policy_document
from automl_compress.networks.describe import logit_count
from automl_compress.networks.outputs import select_output, with_every_output
from automl_compress.networks.trace import Network, trace
from automl_compress.search.memory import InProcessExecutor, MemoryTrialStore
from automl_compress.search.progress import StudyEvent, StudySummary
from automl_compress.search.study import Study
from automl_compress.train.progress import tqdm_progress
from automl_compress.train.pruning_net import prepare_pruning_net

CATALOGUE = "automl_compress.searchers"  # the entry point by which searchers are found


@dataclass(frozen=True)
class CompressedNetwork:
    """A confirmed policy: its network, a copy, and its document.

    packed: the bytes of the network's packed file, where layers are quantised or sparse.
    """

    network: nn.Module
    policy: PolicyDocument
    packed: bytes | None = None


@dataclass(frozen=True)
class CompressionResult:
    """What a search found.

    confirmed: the best `top_k` within each budget, the best on the search images first, or the
        cheapest above the floor that the study sets.
    summary, trials: of the study.
    """

    confirmed: Sequence[CompressedNetwork]
    summary: StudySummary
    trials: Sequence[Trial]

    @property
    def network(self) -> nn.Module:
        """The network of the best policy."""
        return self.confirmed[0].network

    @property
    def policy(self) -> PolicyDocument:
        """The document of the best policy."""
        return self.confirmed[0].policy

    @property
    def packed(self) -> bytes | None:
        """The packed file of the best policy's network."""
        return self.confirmed[0].packed


def compress_network(
    module: nn.Module,
    data: ImageData | str | Path,
    study: StudySpec,
    *,
    name: str = "network",
    processes: int = 0,
    has_progress_bar: bool = True,
    pruning_nets: Path | None = None,
    latency_table: LatencyTable | None = None,
    output: int = 0,
) -> CompressionResult:
    """Search the policy that keeps the most accuracy within a budget, and confirm it.

    Args:
        module: a trained network; put into evaluation mode, otherwise left alone.
        data: images with their three splits, or what `load_data` takes.
        study: searcher, budget, effort, and how candidates are scored.
        name: for the policy document.
        processes: child processes that evaluate; 0 evaluates in this one, which a network
            defined in a notebook needs, and where nothing can keep a trial to its limits.
        has_progress_bar: whether to draw one.
        pruning_nets: the folder that keeps trained PruningNets for later searches, where the
            recipe wants one; None keeps nothing.
        latency_table: times on the study's target; None measures them here, where the study has
            one.
        output: of a network of several, the number of the one that accuracy is measured on, from
            0. The compressed network gives all of them, as the network's class does.

    Raises:
        InvalidInput: network, data or study cannot be used, or not together.
        BudgetUnreachable: no policy of the space is within the budget.
        ModelInvalid: not one policy could be evaluated.
        FloorMissed: no policy reaches the accuracy floor.
    """
    images = data if isinstance(data, ImageData) else load_data(data)
    network = trace(select_output(module.eval(), images.input_shape, output), images.input_shape)
    check_fits(images, images.input_shape, logit_count(network.module, images.input_shape))
    table = latency_table or study_table(network, study)
    space = compression_space(network.graph, study.space, table)
    searcher = _create_searcher(study, search_problem(network, images, space, study))
    pruning_net = _pruning_net(network, images, space, study, pruning_nets, has_progress_bar)
    store = MemoryTrialStore()
    executor = _executor(network, images, study, processes, pruning_net, table)
    try:
        with _ProgressBar(study.effort.evaluations, has_progress_bar) as publish:
            summary = Study(
                searcher,
                executor,
                store,
                space,
                study.budget,
                study.effort,
                publish=publish,
                parallelism=study.parallelism,
                accuracy_floor=study.accuracy_floor,
            ).run()
    finally:
        executor.close()
    confirmer = Confirmer(network, images, study, pruning_net=pruning_net, table=table)
    return _confirm(confirmer, network, images, study, summary, store.trials(), name, table)


def _create_searcher(study: StudySpec, problem: SearchProblem) -> Searcher:
    found = list(entry_points(group=CATALOGUE))
    if not found:
        raise InvalidInput(
            f"no searchers are installed (entry point {CATALOGUE!r}); "
            "pip install 'automl-compress[search]'"
        )
    create: Callable[..., Searcher] = found[0].load()
    return create(study.searcher, problem, study.searcher_options)


def _pruning_net(
    network: Network,
    data: ImageData,
    space: CompressionSpace,
    study: StudySpec,
    folder: Path | None,
    has_progress_bar: bool,
) -> PruningNet | None:
    if study.recipe.pruning_net is None:
        return None
    bar = tqdm_progress("PruningNet") if has_progress_bar else nullcontext()
    with bar as progress:
        trained = prepare_pruning_net(network, data, space, study.recipe, folder, progress)
    return None if trained is None else trained.net


def _executor(
    network: Network,
    data: ImageData,
    study: StudySpec,
    processes: int,
    pruning_net: PruningNet | None,
    table: LatencyTable | None,
) -> Executor:
    search, train, recipe = data.split("search"), data.split("train"), study.recipe
    if not processes:
        evaluator = PolicyEvaluator(network, search, train, recipe, pruning_net, table)
        return InProcessExecutor(evaluator)
    uncut = PolicyEvaluator(network, search, train, recipe.unrepaired())
    recipe = replace(recipe, backend=uncut.recipe.backend)
    record = EvaluatorRecord.of(network, search, train, recipe, pruning_net, table, uncut.program)
    limits = TrialLimits(study.effort.trial_seconds, study.effort.trial_memory_bytes)
    return EvaluationPool(record, processes, limits)


def _confirm(
    confirmer: Confirmer,
    network: Network,
    data: ImageData,
    study: StudySpec,
    summary: StudySummary,
    trials: Sequence[Trial],
    name: str,
    table: LatencyTable | None,
) -> CompressionResult:
    summary.require_best()
    uncut, model = confirmer.uncut_scores(), model_reference(network, name)
    # The search split chooses; the test split, scored once, says how good the choice is.
    confirmed = map(confirmer.confirm, confirmer.finalists(trials))
    found = best_first(confirmed, lambda each: each.search, study, uncut.search)
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    latencies = finalist_latencies(network, study, [each.network.module for each in found])

    def compressed(each: Confirmed, latency: LatencyMeasurement | None) -> CompressedNetwork:
        proxy = each.trial.measurement
        assert proxy is not None
        document = policy_document(
            network,
            model,
            each.policy,
            (each.measurement, each.search, proxy),
            (uncut.test,),
            _repair_note(study, each.network.packed),
            _provenance(study, data),
            each.network.quantisation,
            table=table,
            latency=None if latency is None else latency.to_json(),
            created=created,
        )
        change = execution_change(network, document, each.network.module, data.split("train"))
        whole, packed = with_every_output(each.network.module), each.network.packed
        return CompressedNetwork(whole, replace(document, execution=change), packed)

    return CompressionResult([*map(compressed, found, latencies)], summary, trials)


def _provenance(study: StudySpec, data: ImageData) -> dict[str, Any]:
    return {
        "searcher": study.searcher,
        "seed": study.seed,
        "data": data.name,
        "normalisation": data.normalisation.to_json(),
    }


def _repair_note(study: StudySpec, packed: bytes | None) -> RepairNote:
    is_tuned = study.confirmation.finetune_epochs > 0
    digest = None if packed is None else f"sha256:{hashlib.sha256(packed).hexdigest()}"
    return RepairNote("fine-tuned" if is_tuned else study.recipe.repair, None, digest)


class _ProgressBar:
    """A bar over the effort, with the best score so far."""

    def __init__(self, evaluations: float, is_shown: bool) -> None:
        from tqdm.auto import tqdm

        self._bar = tqdm(total=evaluations, disable=not is_shown, unit="evaluation")

    def __enter__(self) -> Callable[[StudyEvent], None]:
        return self._show

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def _show(self, event: StudyEvent) -> None:
        self._bar.update(event.evaluations - self._bar.n)
        if event.best_score is not None:
            self._bar.set_postfix_str(f"best={event.best_score:.4f}")
