from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from automl_agents.catalogue import create_searcher
from automl_compress.core import (
    Budget,
    Effort,
    Goal,
    Measurement,
    Outcome,
    Policy,
    Searcher,
    SearchProblem,
    Snapshot,
    Suggestion,
    Trial,
    TrialState,
)
from automl_compress.core.errors import (
    BudgetUnreachable,
    FloorMissed,
    InvalidInput,
    ModelInvalid,
    WrongState,
)
from automl_compress.search import (
    InProcessExecutor,
    MemoryTrialStore,
    Study,
    StudyEvent,
    StudySummary,
)
from automl_compress.search.tally import Tally
from tests.fakes import IMAGES, FixedClock, FormulaEvaluator, problem_of

KEEPS = ([1.0] * 4 + [0.5] * 5, [0.5] * 5 + [1.0] * 4)

AMC = {"profile_share": 0.0, "hidden": [16, 16], "batch_size": 8}


class Killed(BaseException):
    """Stands for kill -9: nothing in the loop may catch it."""


class DyingStore(MemoryTrialStore):
    """Dies before or after its n-th write."""

    def __init__(self, *, writes: int, is_written: bool) -> None:
        super().__init__()
        self.writes, self.is_written = writes, is_written

    def _write(self, write: Callable[[], None]) -> None:
        self.writes -= 1
        if self.writes == 0 and not self.is_written:
            raise Killed
        write()
        if self.writes == 0:
            raise Killed

    def asked(self, suggestion: Suggestion) -> None:
        self._write(lambda: super(DyingStore, self).asked(suggestion))

    def told(self, trial: Trial, snapshot: Snapshot | None = None) -> None:
        self._write(lambda: super(DyingStore, self).told(trial, snapshot))


class OutOfOrderExecutor(InProcessExecutor):
    """Finishes the newest submission first."""

    def next_finished(self, timeout_seconds: float | None = None) -> Outcome | None:
        self._waiting.rotate(1)
        return super().next_finished(timeout_seconds)


class BrokenEvaluator:
    def evaluate(self, policy: Policy, images: slice | None = None) -> Measurement:
        raise RuntimeError("the network is broken")


class SkewedEvaluator(FormulaEvaluator):
    """Changes each measurement."""

    def __init__(self, problem: SearchProblem, change: Callable[[Measurement], Measurement]):
        super().__init__(problem.space)
        self.change = change

    def evaluate(self, policy: Policy, images: slice | None = None) -> Measurement:
        return self.change(super().evaluate(policy, images))


def random_searcher(problem: SearchProblem) -> Searcher:
    return create_searcher("random", problem, {})


def run(
    problem: SearchProblem, store: MemoryTrialStore | None = None, **options: object
) -> StudySummary:
    arguments: dict[str, object] = {
        "searcher": random_searcher(problem),
        "executor": InProcessExecutor(FormulaEvaluator(problem.space)),
        "store": store or MemoryTrialStore(),
        "space": problem.space,
        "budget": problem.budget,
        "effort": problem.effort,
        "clock": FixedClock(),
    }
    return Study(**(arguments | options)).run()  # type: ignore[arg-type]


def test_study_spends_its_effort_and_returns_the_best_trial() -> None:
    problem, store = problem_of(evaluations=12), MemoryTrialStore()

    summary = run(problem, store)

    trials = store.trials()
    best = max(trials, key=lambda trial: trial.measurement.score)  # type: ignore[union-attr]
    assert (summary.stop_reason, summary.evaluations) == ("completed", 12.0)
    assert [trial.number for trial in trials] == list(range(12))
    assert summary.best == best


def test_effort_counts_fractions_of_an_evaluation() -> None:
    problem, store = problem_of(evaluations=3), MemoryTrialStore()
    evaluator = FormulaEvaluator(problem.space, evaluations=0.3)

    summary = run(problem, store, executor=InProcessExecutor(evaluator))

    assert len(store.trials()) == 10
    assert summary.evaluations == pytest.approx(3.0)


def test_one_event_is_published_for_each_trial() -> None:
    problem, events = problem_of(evaluations=5), list[StudyEvent]()
    clock = FixedClock()

    def publish(event: StudyEvent) -> None:
        events.append(event)
        clock.seconds += 2.0

    run(problem, publish=publish, clock=clock)

    assert [event.number for event in events] == [0, 1, 2, 3, 4]
    assert [event.evaluations for event in events] == [1, 2, 3, 4, 5]
    assert events[-1].best_score == max(event.score or 0.0 for event in events)
    assert all(0.4 < (event.cost_ratio or 0) <= 0.5 for event in events)
    assert [event.elapsed_seconds for event in events] == [0, 2, 4, 6, 8]
    # The first trial, in which processes start, says nothing; the next two took 2 seconds each.
    assert events[0].eta_seconds is None
    assert events[2].eta_seconds == pytest.approx(4.0)
    assert events[0].to_json()["state"] == "complete"


def test_policy_that_was_measured_before_is_not_evaluated_again() -> None:
    problem, store = problem_of(evaluations=6), MemoryTrialStore()
    evaluator = FormulaEvaluator(problem.space)
    uniform = create_searcher("uniform", problem, {})

    summary = run(problem, store, searcher=uniform, executor=InProcessExecutor(evaluator))

    assert len(evaluator.calls) == 1
    assert summary.evaluations == 6.0
    assert store.trials()[3].note.endswith("measured in trial 0")


def test_wall_seconds_end_a_study_and_earlier_runs_count() -> None:
    problem, store, clock = problem_of(evaluations=100), MemoryTrialStore(), FixedClock(50.0)

    def publish(event: StudyEvent) -> None:
        clock.seconds += 1.0

    summary = run(
        problem,
        store,
        publish=publish,
        clock=clock,
        effort=Effort(100, wall_seconds=10.0),
        elapsed_before_seconds=7.0,
    )

    assert summary.stop_reason == "deadline"
    assert len(store.trials()) == 3


def test_study_stops_when_asked_to() -> None:
    problem, store = problem_of(evaluations=100), MemoryTrialStore()

    summary = run(problem, store, should_stop=lambda: len(store.trials()) >= 4)

    assert summary.stop_reason == "stopped"
    assert len(store.trials()) == 4


def test_five_failures_and_no_success_end_a_study_and_say_why() -> None:
    problem, store = problem_of(evaluations=100), MemoryTrialStore()

    summary = run(problem, store, executor=InProcessExecutor(BrokenEvaluator()))

    assert summary.stop_reason == "all_failed"
    assert summary.best is None
    assert "all 5 trials failed" in summary.message
    assert "the network is broken" in summary.message
    assert [trial.state for trial in store.trials()] == [TrialState.FAILED] * 5


def test_failures_after_a_success_cost_effort_but_do_not_end_a_study() -> None:
    problem, store = problem_of(evaluations=9), MemoryTrialStore()
    good = FormulaEvaluator(problem.space)

    class MostlyBroken:
        def evaluate(self, policy: Policy, images: slice | None = None) -> Measurement:
            if good.calls:
                raise RuntimeError("no memory left")
            return good.evaluate(policy, images)

    summary = run(problem, store, executor=InProcessExecutor(MostlyBroken()))

    assert summary.stop_reason == "completed"
    assert summary.best == store.trials()[0]
    assert len(store.trials()) == 9


def test_network_that_really_costs_more_than_the_budget_is_never_the_best() -> None:
    problem, store = problem_of(evaluations=1), MemoryTrialStore()
    full = problem.space.full
    evaluator = SkewedEvaluator(problem, lambda measured: replace(measured, cost=full))

    summary = run(problem, store, executor=InProcessExecutor(evaluator))

    assert summary.best is None
    assert "the budget allows" in (store.trials()[0].failure or "")


def test_score_that_is_not_a_number_is_a_failure() -> None:
    problem, store = problem_of(evaluations=1), MemoryTrialStore()
    evaluator = SkewedEvaluator(problem, lambda measured: replace(measured, score=float("nan")))

    run(problem, store, executor=InProcessExecutor(evaluator))

    assert "not finite" in (store.trials()[0].failure or "")


@pytest.mark.parametrize("keep", [1.0, 0.501])
def test_searcher_that_leaves_budget_or_space_fails_loudly(keep: float) -> None:
    problem, store = problem_of(evaluations=10, round_to=8), MemoryTrialStore()
    graph = problem.space.graph

    class Lawless:
        def ask(self) -> Suggestion:
            widths = [int(keep * width) + (keep < 1) for width in graph.full_widths]
            return Suggestion(0, Policy.from_widths(graph, widths))

        def snapshot(self) -> Snapshot:
            return Snapshot({})

    with pytest.raises(InvalidInput, match="mend the searcher"):
        run(problem, store, searcher=Lawless())

    assert list(store.trials()) == []


def test_unreachable_budget_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(BudgetUnreachable):
        run(problem_of(ratio=0.001), searcher=object())


def study_of_a_second_a_trial(store: MemoryTrialStore, clock: FixedClock) -> Study:
    problem = problem_of(evaluations=10)

    def publish(event: StudyEvent) -> None:
        clock.seconds += 1.0

    return Study(
        random_searcher(problem),
        InProcessExecutor(FormulaEvaluator(problem.space)),
        store,
        problem.space,
        problem.budget,
        problem.effort,
        publish=publish,
        clock=clock,
    )


def test_advance_goes_on_in_chunks() -> None:
    store, clock = MemoryTrialStore(), FixedClock()
    study = study_of_a_second_a_trial(store, clock)

    counts = []
    while not study.advance(until=clock.seconds + 4.0):
        counts.append(len(store.trials()))

    assert counts == [4, 8]
    assert study.summary is not None
    assert study.summary.evaluations == 10


@pytest.mark.parametrize(("changed", "spent"), [(6.0, 6), (2.0, 4), (15.0, 15)])
def test_a_study_that_runs_ends_by_its_new_effort(changed: float, spent: int) -> None:
    store, clock = MemoryTrialStore(), FixedClock()
    study = study_of_a_second_a_trial(store, clock)
    study.advance(until=clock.seconds + 4.0)

    study.change_effort(Effort(changed))
    while not study.advance(until=clock.seconds + 4.0):
        pass

    assert len(store.trials()) == spent


def test_several_evaluations_in_flight_come_back_in_any_order() -> None:
    problem, store = problem_of(evaluations=11), MemoryTrialStore()
    executor = OutOfOrderExecutor(FormulaEvaluator(problem.space), capacity=3)

    summary = run(
        problem,
        store,
        executor=executor,
        parallelism=3,
        searcher=create_searcher("amc", problem, AMC),
    )

    assert summary.evaluations == 11
    assert [trial.state for trial in store.trials()] == [TrialState.COMPLETE] * 11


def test_a_snapshot_is_stored_every_twenty_trials() -> None:
    problem, store = problem_of(evaluations=45), MemoryTrialStore()

    run(problem, store)

    snapshot, events = store.history()
    assert snapshot is not None
    assert snapshot.values["ledger"]["told"] == 40
    assert len(events) == 10  # an ask and a tell for each of the last five


def test_snapshots_come_more_often_while_they_are_cheap() -> None:
    problem, store, clock = problem_of(evaluations=30), MemoryTrialStore(), FixedClock()

    def publish(event: StudyEvent) -> None:
        clock.seconds += 1.0  # taking a snapshot takes no time on this clock

    run(problem, store, publish=publish, clock=clock)

    snapshot, _ = store.history()
    assert snapshot is not None
    assert snapshot.values["ledger"]["told"] == 30


def continued(problem: SearchProblem, store: MemoryTrialStore, searcher: str) -> list[Policy]:
    """Run the study to its end from what a store holds; the policies it evaluated now."""
    evaluator = FormulaEvaluator(problem.space)
    options = AMC if searcher == "amc" else {}
    executor = InProcessExecutor(evaluator)
    run(problem, store, searcher=create_searcher(searcher, problem, options), executor=executor)
    return evaluator.calls


@pytest.mark.parametrize(
    ("searcher", "is_written"),
    [("random", True), ("random", False), pytest.param("amc", False, marks=pytest.mark.slow)],
)
def test_killed_at_any_write_it_goes_on_as_if_nothing_had_happened(
    searcher: str, is_written: bool, rng: np.random.Generator
) -> None:
    problem = problem_of(evaluations=30)
    uninterrupted = MemoryTrialStore()
    continued(problem, uninterrupted, searcher)

    for writes in sorted({1, 2, 41, 60, *rng.integers(3, 60, 3).tolist()}):
        store = DyingStore(writes=writes, is_written=is_written)
        with pytest.raises(Killed):
            continued(problem, store, searcher)
        done = [trial.policy for trial in store.trials() if trial.state is TrialState.COMPLETE]

        again = continued(problem, store, searcher)

        assert list(store.trials()) == list(uninterrupted.trials())
        assert not set(done) & set(again), "a stored trial was evaluated again"


def test_trials_in_flight_run_again_under_their_numbers_first() -> None:
    problem, store = problem_of(evaluations=4), MemoryTrialStore()
    searcher = random_searcher(problem)
    in_flight = [searcher.ask(), searcher.ask()]
    for suggestion in in_flight:
        store.asked(suggestion)

    calls = continued(problem, store, "random")

    assert calls[:2] == [suggestion.policy for suggestion in in_flight]
    assert [trial.number for trial in store.trials()] == [0, 1, 2, 3]


def test_finished_study_is_not_begun_again() -> None:
    problem, store = problem_of(evaluations=4), MemoryTrialStore()
    continued(problem, store, "random")

    assert continued(problem, store, "random") == []


def test_another_seed_cannot_continue_a_study() -> None:
    store = MemoryTrialStore()
    continued(problem_of(evaluations=4, seed=0), store, "random")

    with pytest.raises(WrongState, match="another policy"):
        continued(problem_of(evaluations=4, seed=1), store, "random")


def test_executor_with_a_foreign_trial_is_refused() -> None:
    problem = problem_of(evaluations=4)
    executor = InProcessExecutor(FormulaEvaluator(problem.space), capacity=3)
    executor.submit(99, random_searcher(problem).ask().policy)

    with pytest.raises(WrongState, match="executor of its own"):
        run(problem, executor=executor)


class Scripted:
    """Asks what it is told to ask."""

    def __init__(self, script: list[Suggestion]) -> None:
        self.script, self.told = list(script), list[Trial]()

    def ask(self) -> Suggestion:
        return self.script.pop(0)

    def tell(self, trial: Trial) -> None:
        self.told.append(trial)

    def snapshot(self) -> Snapshot:
        return Snapshot({})


class RecordingEvaluator(FormulaEvaluator):
    """Keeps which images were asked for."""

    def __init__(self, problem: SearchProblem) -> None:
        super().__init__(problem.space)
        self.parts: list[slice | None] = []

    def evaluate(self, policy: Policy, images: slice | None = None) -> Measurement:
        self.parts.append(images)
        return super().evaluate(policy, images)


def test_a_probe_may_be_over_the_budget_and_cannot_win() -> None:
    problem = problem_of(evaluations=2)
    space = problem.space
    within = space.policy(space.uniform(problem.budget))
    script = [
        Suggestion(0, space.policy(space.largest), role="probe"),
        Suggestion(1, within),
    ]

    summary = run(problem, searcher=Scripted(script))

    assert summary.best is not None
    assert (summary.best.number, summary.evaluations) == (1, 2.0)


class FailsInBetween(FormulaEvaluator):
    """Measures the first and the last of seven policies."""

    count = 0

    def evaluate(self, policy: Policy, images: slice | None = None) -> Measurement:
        self.count += 1
        if 1 < self.count < 7:
            raise ValueError("too slow")
        return super().evaluate(policy, images)


def test_failed_probes_do_not_end_a_study_that_has_measured_others() -> None:
    problem = problem_of(evaluations=7)
    space, ratios = problem.space, (0.3, 0.4, 0.6, 0.7, 0.8, 0.9)
    script = [
        Suggestion(number, space.policy(space.uniform(Budget("macs", ratio))), role="probe")
        for number, ratio in enumerate(ratios)
    ]
    assert len({each.policy for each in script}) == 6
    script.append(Suggestion(6, space.policy(space.uniform(problem.budget))))

    executor = InProcessExecutor(FailsInBetween(space))
    summary = run(problem, searcher=Scripted(script), executor=executor)

    assert summary.stop_reason == "completed"
    assert summary.best is not None
    assert summary.best.number == 6


def test_a_study_whose_candidates_all_fail_says_that_its_probes_were_measured() -> None:
    tally, space = Tally(Goal("macs")), problem_of(evaluations=1).space
    policy = space.policy(space.largest)
    tally.add(
        Suggestion(0, policy, role="probe").complete(FormulaEvaluator(space).evaluate(policy))
    )
    tally.add(Suggestion(1, policy).failed("too slow"))

    assert tally.failed() == (
        "1 probes were measured, but no candidate: 1 trials failed; the last one: too slow"
    )


def test_a_candidate_over_the_budget_is_still_refused() -> None:
    problem = problem_of(evaluations=2)
    script = [Suggestion(0, problem.space.policy(problem.space.largest))]

    with pytest.raises(InvalidInput, match="the budget allows"):
        run(problem, searcher=Scripted(script))


def test_a_subset_cannot_win_and_the_whole_forwards_only_the_rest() -> None:
    problem = problem_of(evaluations=1.25)
    space = problem.space
    first, second = (space.policy(space.project(keep, problem.budget)) for keep in KEEPS)
    evaluator, searcher = (
        RecordingEvaluator(problem),
        Scripted(
            [
                Suggestion(0, first, images=IMAGES // 4),
                Suggestion(1, second, images=IMAGES // 4),
                Suggestion(2, second),
            ]
        ),
    )

    summary = run(problem, searcher=searcher, executor=InProcessExecutor(evaluator))

    assert evaluator.parts == [
        slice(0, IMAGES // 4),
        slice(0, IMAGES // 4),
        slice(IMAGES // 4, None),
    ]
    assert summary.evaluations == 1.25
    assert summary.best is not None
    assert summary.best.number == 2
    whole, alone = searcher.told[2].measurement, FormulaEvaluator(space).evaluate(second)
    assert whole is not None
    assert (whole.total, whole.correct, whole.fidelity) == (IMAGES, alone.correct, "proxy")
    assert [trial.score is None for trial in searcher.told] == [True, True, False]


def test_a_subset_of_what_was_measured_whole_is_answered() -> None:
    problem = problem_of(evaluations=2)
    policy = problem.space.policy(problem.space.uniform(problem.budget))
    evaluator = RecordingEvaluator(problem)
    script = [Suggestion(0, policy), Suggestion(1, policy, images=IMAGES // 5)]

    summary = run(
        replace(problem, effort=Effort(1.2)),
        searcher=Scripted(script),
        executor=InProcessExecutor(evaluator),
    )

    assert len(evaluator.parts) == 1
    assert summary.evaluations == 1.2


def test_with_an_accuracy_floor_the_best_is_the_cheapest_that_reaches_it() -> None:
    problem, store, events = problem_of(evaluations=40), MemoryTrialStore(), list[StudyEvent]()
    # Random shares at half of the MACs differ little in cost: by parameters they do.
    problem = replace(problem, budget=Budget("parameters", 0.9))
    searcher = create_searcher(
        "amc", replace(problem, accuracy_floor=0.7), AMC | {"warmup_evaluations": 40}
    )

    summary = run(problem, store, searcher=searcher, accuracy_floor=0.7, publish=events.append)

    measured = [each.measurement for each in store.trials() if each.measurement is not None]
    reaching = [each for each in measured if each.accuracy >= 0.7]
    best = summary.require_best().measurement
    assert 0 < len(reaching) < len(measured)
    assert best is not None
    assert best.accuracy >= 0.7
    assert best.cost.parameters == min(each.cost.parameters for each in reaching)
    assert events[-1].best_number == summary.require_best().number


def test_where_nothing_reaches_the_accuracy_floor_the_nearest_is_named() -> None:
    problem, store = problem_of(evaluations=12), MemoryTrialStore()

    summary = run(problem, store, accuracy_floor=0.95)

    nearest = max(store.trials(), key=lambda each: each.score or 0.0)
    assert (summary.stop_reason, summary.best) == ("floor_missed", None)
    with pytest.raises(
        FloorMissed, match=rf"floor of 0\.95 on search.*trial {nearest.number}, has"
    ):
        summary.require_best()


def test_a_study_in_which_all_failed_has_no_best_trial_to_require() -> None:
    problem = problem_of(evaluations=12)

    summary = run(problem, executor=InProcessExecutor(BrokenEvaluator()), accuracy_floor=0.5)

    assert summary.stop_reason == "all_failed"
    with pytest.raises(ModelInvalid, match="the network is broken"):
        summary.require_best()
