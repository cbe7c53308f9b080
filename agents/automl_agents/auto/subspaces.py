"""Parts of a space that are searched first: one bit-width for all layers, one kind of sparsity.

Where layers decide on bits, or on single weights beside channels, there are several times as many
decisions as without, and most policies of a small budget are ruined by one of them. A part of the
space that decides less is found through sooner, and its best policy is where the whole begins.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from automl_agents.auto.aims import Aim
from automl_agents.auto.answers import Answers
from automl_agents.auto.config import AutoConfig
from automl_agents.auto.exchange import Setting
from automl_agents.auto.plan import Plan
from automl_agents.decisions import open_decisions
from automl_compress.core import Budget, CompressionSpace, Metric, SearchProblem
from automl_compress.core.decision import Decision, DecisionKind
from automl_compress.core.errors import BudgetUnreachable

SPARSITY: tuple[DecisionKind, ...] = ("width", "density")
MOST_IMAGES, FEWEST_IMAGES = 256, 64  # that compare the parts


@dataclass(frozen=True)
class Subspace:
    """A part of a space: the other decisions have a single value. words: what it decides."""

    space: CompressionSpace
    words: str


def subspaces(space: CompressionSpace, metric: Metric) -> list[Subspace]:
    """Return the parts of a space.

    Args:
        space: where to search.
        metric: of the budget; decisions that it does not count keep their largest value.

    Returns:
        A part for each bit-width and each of channels alone, single weights alone, and both, as
        far as the space opens them; none where it has one kind of sparsity and no bits.
    """
    opened = [space.decisions[place] for place in open_decisions(space, metric)]
    sparse: list[DecisionKind] = [
        kind for kind in SPARSITY if kind in {each.kind for each in opened}
    ]
    levels = sorted({bits for each in opened if each.is_ordinal for bits in each.allowed})
    if not levels and len(sparse) < len(SPARSITY):
        return []
    kinds: list[list[DecisionKind]] = [[kind] for kind in sparse]
    if len(sparse) != 1:
        kinds.append(sparse)
    return [
        Subspace(_narrowed(space, opened, chosen, level), _worded(chosen, level))
        for chosen in kinds
        for level in levels or [None]
    ]


def _narrowed(
    space: CompressionSpace,
    opened: Sequence[Decision],
    kinds: Sequence[DecisionKind],
    bits: int | None,
) -> CompressionSpace:
    def narrowed(decision: Decision) -> Decision:
        if decision not in opened or decision.kind in kinds:
            return decision
        allowed = decision.allowed[-1:]
        if decision.is_ordinal and bits is not None:
            allowed = next(((value,) for value in decision.allowed if value >= bits), allowed)
        return replace(decision, allowed=allowed)

    return space.narrowed([narrowed(each) for each in space.decisions])


def _worded(kinds: Sequence[DecisionKind], bits: int | None) -> str:
    names = {"width": "channels", "density": "single weights"}
    decided = " and ".join(names[kind] for kind in kinds) or "nothing"
    return f"{decided} removed" + ("" if bits is None else f", {bits} bits everywhere")


class SubspaceRace:
    """Scores the uniform policy of each part, and says which part leads.

    Each budget of the study has its own race. A smaller budget on the way to an accuracy floor
    is searched in the part that leads at the study's.
    """

    def __init__(self, problem: SearchProblem, config: AutoConfig, answers: Answers) -> None:
        """Choose the policies.

        Args:
            problem: where to search.
            config: what share of the effort the opening may have; a race that costs more, on
                few images too, is not run.
            answers: those that the searcher goes on to fill.
        """
        self._answers = answers
        parts = subspaces(problem.space, problem.budget.metric)
        found = {budget.ratio: dict(_uniform(parts, budget)) for budget in problem.budgets}
        count = sum(len(entries) for entries in found.values())
        share = config.profile_share if config.narrow_share else 0.0
        self._images = _images(problem, count, share * problem.effort.evaluations)
        self._entries = found if self._images else {}

    @property
    def is_run(self) -> bool:
        """Whether there are parts to compare, and the effort allows it."""
        return bool(self._entries)

    def plans(self, aims: Iterable[Aim]) -> Iterator[Plan]:
        """Propose every part's uniform policy at each aim, on a subset of the images."""
        for aim in aims:
            for setting, part in self._entries.get(aim.budget.ratio, {}).items():
                why = f"uniform: {part.words}, scored on {self._images} images{aim.words}"
                yield Plan(setting, self._images, why)

    def leader(self, budget: Budget) -> Subspace | None:
        """Return the part whose policy scored best, if it reaches the budget.

        None where no race is run, and where nothing was scored.
        """
        if not self._entries:
            return None
        entries = self._entries.get(budget.ratio) or next(iter(self._entries.values()))
        scores = self._answers.part  # all images may have scored the leader, and no other
        known = [setting for setting in entries if setting in scores]
        for setting in sorted(known, key=scores.__getitem__, reverse=True):
            part = entries[setting]
            if part.space.within(part.space.smallest, budget):
                return part
        return None


def _uniform(parts: Iterable[Subspace], budget: Budget) -> Iterator[tuple[Setting, Subspace]]:
    for part in parts:
        with suppress(BudgetUnreachable):
            yield part.space.uniform(budget), part


def _images(problem: SearchProblem, count: int, evaluations: float) -> int:
    """Return on how many images so many policies are compared; 0 where that costs too much."""
    images = min(problem.images, MOST_IMAGES)
    while count * problem.evaluations(images) > evaluations:
        images //= 2
        if images < FEWEST_IMAGES:
            return 0
    return images if count > 1 else 0
