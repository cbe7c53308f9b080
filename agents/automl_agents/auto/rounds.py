"""Rounds of `auto`: a surrogate over exchange moves proposes, a subset of the images screens."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import norm

from automl_agents.auto.aims import Aim
from automl_agents.auto.answers import Answers
from automl_agents.auto.config import AutoConfig
from automl_agents.auto.exchange import Exchanges, Setting
from automl_agents.auto.plan import Plan
from automl_agents.auto.surrogate import Surrogate
from automl_agents.decisions import open_decisions
from automl_compress.core import Budget, CompressionSpace, SearchProblem

BASES = 6  # policies that moves start from
MOVES = 25  # tried from each of them
FEWEST_CLIMBS = 2  # rounds of moves from the best moves
DECISIONS_A_CLIMB = 6  # a move changes few of them, so where there are many it takes more rounds
FEWEST_MEASUREMENTS = 6  # before the surrogate is asked
SMALLEST_SAVING = 0.6  # a screening that costs more of an evaluation than this is left out


def screening_images(problem: SearchProblem, images: int) -> int | None:
    """Return on how many images a policy is screened; None where that saves too little."""
    cost = problem.evaluations(images) / problem.evaluations()
    return images if images and cost < SMALLEST_SAVING else None


class SurrogateRounds:
    """Draws settings near the best ones, and asks for those that the surrogate finds promising."""

    def __init__(self, problem: SearchProblem, config: AutoConfig, answers: Answers) -> None:
        """Begin; `answers` are those that the searcher goes on to fill."""
        self._problem, self._config, self._answers = problem, config, answers
        self._open = open_decisions(problem.space, problem.budget.metric)
        self._images = screening_images(problem, config.subset_images)
        self._climbs = max(FEWEST_CLIMBS, len(self._open) // DECISIONS_A_CLIMB)
        self._surrogate = Surrogate()

    def plans(
        self,
        aim: Aim,
        space: CompressionSpace,
        rng: np.random.Generator,
        in_flight: Collection[Setting],
        *,
        is_late: bool,
    ) -> Iterator[Plan]:
        """Propose the next policies for an aim.

        Args:
            aim: whose budget they keep.
            space: the problem's, or the part of it to look in.
            rng: of this round.
            in_flight: settings that are asked for and not told.
            is_late: whether nothing is explored any more.
        """
        if len(self._answers) < FEWEST_MEASUREMENTS:
            yield from self._first_draws(aim, space, rng, in_flight)
            return
        self._fit()
        budget = aim.budget
        proposals = self._proposals(space, budget, rng, in_flight)
        if not proposals:  # a part of the space is exhausted
            space = self._problem.space
            proposals = self._proposals(space, budget, rng, in_flight)
        if not proposals:  # all of it; the store answers
            best = self._bases(space, budget, 1) or [space.uniform(budget)]
            yield Plan(best[0], None, f"every policy near the best is measured{aim.words}")
            return
        count = self._config.screened if self._images is not None else 1
        for place in self._chosen(proposals, rng, count, is_late=is_late):
            setting = Exchanges(space, budget).filled(proposals[place], rng)
            yield Plan(setting, self._images, self._why(aim))
        if self._images is not None:
            yield from self._promotion(aim, in_flight)

    def _first_draws(
        self,
        aim: Aim,
        space: CompressionSpace,
        rng: np.random.Generator,
        in_flight: Collection[Setting],
    ) -> Iterator[Plan]:
        """Propose policies around the best so far while there is little to learn from."""
        budget = aim.budget
        bases = self._bases(space, budget, 1) or [space.uniform(budget)]
        drawn = [*Exchanges(space, budget).near(bases[0], rng, 8), space.sample(rng, budget)]
        new = self._new(dict.fromkeys(drawn), in_flight) or drawn
        for setting in new[:FEWEST_MEASUREMENTS]:
            yield Plan(setting, self._images, "first draws for the surrogate")

    def _why(self, aim: Aim) -> str:
        on = "all" if self._images is None else f"{self._images}"
        return (
            f"promising to the surrogate of {len(self._answers)} measurements, "
            f"scored on {on} images{aim.words}"
        )

    def _fit(self) -> None:
        rows = self._answers.rows()
        self._surrogate.fit(
            self._inputs([setting for setting, _, _ in rows]),
            np.array([is_part for _, is_part, _ in rows]),
            np.array([y for _, _, y in rows]),
        )

    def _inputs(self, policies: Sequence[Setting]) -> np.ndarray:
        # Shares of bits, too: their number and powers of 1/2 predicted worse.
        shares = np.array([self._problem.space.shares(each) for each in policies])
        return np.log(shares[:, self._open])

    def _bases(self, space: CompressionSpace, budget: Budget, count: int) -> list[Setting]:
        """Return the best policies of a space within a budget, as far as is known."""
        within = self._answers.within(budget)
        known = {setting: score for setting, score in within.items() if setting in space}
        if known and len(self._answers) >= FEWEST_MEASUREMENTS:
            policies = list(known)
            means = self._surrogate.means(self._inputs(policies))
            return [policies[place] for place in np.argsort(-means, kind="stable")[:count]]
        return sorted(known, key=lambda each: -known[each])[:count]

    def _proposals(
        self,
        space: CompressionSpace,
        budget: Budget,
        rng: np.random.Generator,
        in_flight: Collection[Setting],
    ) -> list[Setting]:
        exchanges = Exchanges(space, budget)
        drawn: dict[Setting, None] = {}
        for base in self._bases(space, budget, BASES):
            drawn |= dict.fromkeys(exchanges.near(base, rng, MOVES))
        drawn |= dict.fromkeys(space.sample(rng, budget) for _ in range(BASES))
        for _ in range(self._climbs):  # on from the most promising of what was drawn
            new = self._new(drawn, in_flight)
            means = self._surrogate.means(self._inputs(new)) if new else np.zeros(0)
            for place in np.argsort(-means, kind="stable")[: BASES // 2]:
                drawn |= dict.fromkeys(exchanges.near(new[place], rng, MOVES))
        return self._new(drawn, in_flight)

    def _new(self, settings: Collection[Setting], in_flight: Collection[Setting]) -> list[Setting]:
        return [each for each in settings if each not in self._answers and each not in in_flight]

    def _chosen(
        self, proposals: Sequence[Setting], rng: np.random.Generator, count: int, *, is_late: bool
    ) -> list[int]:
        """Pick the best proposal in each of `count` samples of the surrogate, all different.

        Where nothing is explored any more, the highest means are picked instead.
        """
        if is_late:
            means = self._surrogate.means(self._inputs(proposals))
            return [int(place) for place in np.argsort(-means, kind="stable")[:count]]
        samples = self._surrogate.sample(self._inputs(proposals), count, rng)
        picked: list[int] = []
        for values in samples:
            ranked = [place for place in np.argsort(-values, kind="stable") if place not in picked]
            picked += [int(place) for place in ranked[:1]]
        return picked

    def _promotion(self, aim: Aim, in_flight: Collection[Setting]) -> Iterator[Plan]:
        """Propose the screened policy of the highest mean, if it may be better than the best."""
        budget = aim.budget
        waiting = [each for each in self._answers.waiting_within(budget) if each not in in_flight]
        whole = self._answers.whole_within(budget)
        if not waiting or not whole:
            return
        means, deviations = self._surrogate.predict(self._inputs(waiting))
        best = max(self._surrogate.means(self._inputs(whole)))
        place = int(np.argmax(means))
        chance = float(norm.sf(best, means[place], max(deviations[place], 1e-12)))
        if chance >= self._config.error_probability:
            why = f"screened well: better than the best with p = {chance:.2f}{aim.words}"
            yield Plan(waiting[place], None, why)

    def to_json(self) -> dict[str, Any]:
        """Return the surrogate's parameters; everything else follows from the answers."""
        return self._surrogate.to_json()

    def restore(self, content: Mapping[str, Any]) -> None:
        """Take over what `to_json` returned."""
        self._surrogate.restore(content)
