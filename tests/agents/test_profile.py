import json

import numpy as np
import pytest

from automl_agents.allocation.loss_curves import Shape
from automl_agents.allocation.profile import MEASURES, SensitivityProfile
from automl_agents.allocation.profile_plan import Probe, ProfilePlan, plan_profile
from automl_agents.ledger import TrialLedger
from automl_compress.core import CompressionSpace, Suggestion, Trial
from tests.fakes import (
    FormulaEvaluator,
    measurement_of,
    plain_graph,
    problem_of,
    residual_graph,
    space_of,
)


def run(space: CompressionSpace, plan: ProfilePlan) -> tuple[SensitivityProfile, FormulaEvaluator]:
    profile, ledger = SensitivityProfile(space, plan), TrialLedger()
    evaluator = FormulaEvaluator(space)
    while not profile.is_asked:
        suggestion = profile.ask(ledger)
        part = slice(0, suggestion.images)
        profile.tell(suggestion.complete(evaluator.evaluate(suggestion.policy, part)))
    return profile, evaluator


def told(space: CompressionSpace, suggestion: Suggestion, accuracy: float) -> Trial:
    cost = space.costs.cost(space.setting(suggestion.policy))
    return suggestion.complete(measurement_of(cost, accuracy))


def measured(accuracies: dict[int, float], shape: Shape = "isotonic") -> np.ndarray:
    """The curve of one group of ten channels of which these widths have these accuracies."""
    space = space_of(plain_graph((10,)))
    probes = (Probe(None, 0), *(Probe(0, width) for width in accuracies))
    profile, ledger = SensitivityProfile(space, ProfilePlan(probes, 100)), TrialLedger()
    for accuracy in (0.9, *accuracies.values()):
        profile.tell(told(space, profile.ask(ledger), accuracy))
    return profile.curves("accuracy", shape)[0]


def test_curves_are_those_of_the_formula() -> None:
    problem = problem_of(plain_graph((20, 40, 30)), evaluations=1000)

    profile, evaluator = run(problem.space, plan_profile(problem, 100, levels=9, images=10_000))

    widths = [np.asarray(allowed) for allowed in problem.space.allowed]
    for group, curve in enumerate(profile.curves("accuracy")):
        sparsity = 1 - widths[group] / widths[group][-1]
        # Interpolated between nine levels, counted in 10,000 images.
        assert curve == pytest.approx(evaluator.sensitivity[group] * sparsity**2, abs=0.004)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("shape", ["isotonic", "convex"])
def test_curves_cover_every_allowed_width_and_never_rise_with_it(measure: str, shape: str) -> None:
    problem = problem_of(evaluations=1000, round_to=2, skip=("stem",), fix=(("stage1", 0.25),))

    profile, _ = run(problem.space, plan_profile(problem, 100, levels=4))

    curves = profile.curves(measure, shape)  # type: ignore[arg-type]
    assert [len(curve) for curve in curves] == [len(each) for each in problem.space.allowed]
    assert all(curve[-1] == 0.0 and (np.diff(curve) <= 0).all() for curve in curves)


def test_noise_is_pooled() -> None:
    curve = measured({8: 0.86, 6: 0.88, 4: 0.7})

    # 0.04 and 0.02 of drop, in the wrong order, become 0.03 twice.
    assert curve[[3, 5, 7]] == pytest.approx([0.2, 0.03, 0.03])
    assert curve[9] == 0.0


def test_better_than_uncut_costs_nothing() -> None:
    assert measured({8: 0.92, 4: 0.8})[7] == 0.0


def test_convex_curve_has_slopes_that_never_fall() -> None:
    curve = measured({8: 0.8, 6: 0.78, 4: 0.7, 2: 0.3}, "convex")

    knots = curve[[9, 7, 5, 3, 1]]  # at 0, 0.2, 0.4, 0.6 and 0.8 removed
    assert (np.diff(knots, 2) >= -1e-12).all()
    assert knots[-1] == pytest.approx(0.6)


def test_beyond_the_last_level_a_loss_goes_on_rising() -> None:
    curve = measured({5: 0.8})

    assert curve[4] == pytest.approx(0.1)
    assert curve[0] == pytest.approx(0.1 * (0.9 / 0.5) ** 2)


def test_failed_levels_are_interpolated_and_failed_groups_take_the_mean() -> None:
    space = space_of(plain_graph((10, 10, 10)))
    probes = (Probe(None, 0), Probe(0, 5), Probe(0, 3), Probe(1, 5), Probe(2, 5))
    profile, ledger = SensitivityProfile(space, ProfilePlan(probes, 100)), TrialLedger()
    uncut, first, second, third, fourth = (profile.ask(ledger) for _ in probes)

    profile.tell(told(space, uncut, 0.9))
    profile.tell(told(space, first, 0.8))
    profile.tell(second.failed("made up"))
    profile.tell(told(space, third, 0.6))
    profile.tell(fourth.failed("made up"))

    curves = profile.curves("accuracy")
    assert curves[0][4] == pytest.approx(0.1)
    assert curves[0][2] > curves[0][4]
    assert curves[2] == pytest.approx((curves[0] + curves[1]) / 2)


def test_without_any_measurement_a_curve_is_the_square_of_the_sparsity() -> None:
    space = space_of(plain_graph((10, 20)))
    profile = SensitivityProfile(space, ProfilePlan((Probe(None, 0), Probe(0, 5)), 100))

    for curve, allowed in zip(profile.curves("kl"), space.allowed, strict=True):
        assert curve == pytest.approx((1 - np.asarray(allowed) / allowed[-1]) ** 2)


def test_failed_uncut_network_is_replaced_by_the_best_probe() -> None:
    space = space_of(plain_graph((10,)))
    probes = (Probe(None, 0), Probe(0, 8), Probe(0, 4))
    profile, ledger = SensitivityProfile(space, ProfilePlan(probes, 100)), TrialLedger()
    uncut, first, second = (profile.ask(ledger) for _ in probes)

    for trial in (uncut.failed("made up"), told(space, first, 0.8), told(space, second, 0.5)):
        profile.tell(trial)

    assert profile.curves("accuracy")[0][[3, 7]] == pytest.approx([0.3, 0.0])


def test_plan_is_one_group_at_a_time_on_a_subset() -> None:
    problem = problem_of(evaluations=300)
    plan = plan_profile(problem, 100)
    profile, ledger = SensitivityProfile(problem.space, plan), TrialLedger()

    asked = [profile.ask(ledger) for _ in plan.probes]

    cut = [
        sum(width < full for width, full in zip(widths, problem.space.largest, strict=True))
        for widths in (each.policy.widths(problem.space.graph) for each in asked)
    ]
    assert cut == [0] + [1] * 81
    assert {(each.role, each.images) for each in asked} == {("probe", 256)}
    assert len({each.policy for each in asked}) == 82
    # Level by level: whole curves however early it ends, and from the last group to the first.
    assert [probe.decision for probe in plan.probes[1:10]] == list(range(9))[::-1]


@pytest.mark.parametrize(
    ("evaluations", "levels", "images"),
    [(2.2, 9, 256), (1.5, 6, 256), (1.0, 4, 256), (0.75, 3, 256), (0.5, 2, 256), (0.3, 2, 128)],
)
def test_small_efforts_get_fewer_levels_then_fewer_images(
    evaluations: float, levels: int, images: int
) -> None:
    problem = problem_of()  # 9 groups; an image costs 1/10,000

    plan = plan_profile(problem, evaluations)

    assert (len(plan.probes), plan.images) == (1 + 9 * levels, images)
    assert len(plan.probes) * problem.evaluations(plan.images) <= evaluations


def test_smallest_profile_is_one_level_on_32_images() -> None:
    plan = plan_profile(problem_of(), 0.001)

    assert (len(plan.probes), plan.images) == (10, 32)
    assert plan.probes[1].value == round(64 * 0.4)  # two thirds of 0.9 removed


def test_grid_leaves_each_width_one_probe() -> None:
    problem = problem_of(residual_graph((16, 16, 16)), round_to=8)

    plan = plan_profile(problem, 100)

    assert len(plan.probes) == 10
    assert {probe.value for probe in plan.probes[1:]} == {8}


def test_restored_between_ask_and_tell_it_goes_on() -> None:
    problem = problem_of(plain_graph((10, 20)), evaluations=100)
    plan = plan_profile(problem, 10, levels=3)
    profile, ledger = SensitivityProfile(problem.space, plan), TrialLedger()
    first, second = profile.ask(ledger), profile.ask(ledger)
    profile.tell(told(problem.space, first, 0.9))
    restored = SensitivityProfile(problem.space, ProfilePlan((), 1))

    restored.restore(json.loads(json.dumps(profile.to_json())))

    trial = told(problem.space, second, 0.7)
    assert restored.tell(trial)
    assert profile.tell(trial)
    assert not restored.tell(trial)
    assert restored.plan == plan
    again = TrialLedger()
    again.restore(ledger.to_json())
    assert restored.ask(again) == profile.ask(ledger)
    for one, two in zip(restored.curves("kl"), profile.curves("kl"), strict=True):
        assert np.array_equal(one, two)


def bits_curve(points: dict[int, float], bits: tuple[int, ...] = (2, 3, 4, 6, 8)) -> np.ndarray:
    """The curve over the weight bits of one layer of which these have these losses."""
    space = space_of(plain_graph((10,)), weight_bits=bits, edge_bits=None)
    place = 1  # behind the only width
    probes = (Probe(None, 0), *(Probe(place, value) for value in points))
    profile, ledger = SensitivityProfile(space, ProfilePlan(probes, 100)), TrialLedger()
    for loss in (0.0, *points.values()):
        profile.tell(told(space, profile.ask(ledger), 0.9 - loss))
    return profile.curves("accuracy")[place]


def test_the_logarithm_of_a_loss_is_linear_in_bits() -> None:
    curve = bits_curve({2: 0.81, 6: 0.01})

    assert curve[:4] == pytest.approx([0.81, 0.27, 0.09, 0.01])
    assert curve[4] == 0.0  # the largest choice


def test_beyond_what_was_measured_a_bit_divides_a_loss_by_four() -> None:
    curve = bits_curve({4: 0.1}, (2, 3, 4, 5, 16))

    assert curve == pytest.approx([1.6, 0.4, 0.1, 0.025, 0.0], abs=1e-6)


def test_losses_over_bits_are_pooled_and_never_lost() -> None:
    assert bits_curve({2: 0.1, 3: 0.3})[:2] == pytest.approx([0.2, 0.2])
    unseen = bits_curve({2: 0.4, 4: 0.0})  # too small for the images
    assert unseen[:3] == pytest.approx([0.4, 0.1, 0.025])
    assert (bits_curve({3: 0.0, 4: 0.0}) == 0.0).all()


def test_kinds_without_a_measurement_are_assumed_at_the_scale_of_the_others() -> None:
    options = {"schemes": ("channel", "element"), "weight_bits": (2, 3, 8), "edge_bits": None}
    space = space_of(plain_graph((10, 10)), **options)
    probes = (Probe(None, 0), Probe(0, 1), Probe(1, 1))
    profile, ledger = SensitivityProfile(space, ProfilePlan(probes, 100)), TrialLedger()
    for accuracy in (0.9, 0.7, 0.5):
        profile.tell(told(space, profile.ask(ledger), accuracy))

    curves = profile.curves("accuracy")

    assert [curves[0][0], curves[1][0]] == pytest.approx([0.2, 0.4])
    for decision, curve in zip(space.decisions, curves, strict=True):
        assert len(curve) == len(decision.allowed)
        assert curve[-1] == 0.0
        if decision.kind == "density":
            assert curve == pytest.approx(0.3 * (1 - np.array(decision.allowed) / 100) ** 2)
        if decision.kind == "weight_bits":
            assert curve[:2] == pytest.approx([0.3 / 4, 0.3 / 16], rel=1e-3)


def test_plan_probes_each_decision_that_the_budget_counts() -> None:
    options = {"weight_bits": (2, 3, 4, 6, 8), "activation_bits": (4, 8), "evaluations": 300}
    problem = problem_of(metric="size_bytes", ratio=0.1, **options)

    plan = plan_profile(problem, 100, levels=3)

    decisions = problem.space.decisions
    probed = [decisions[probe.decision] for probe in plan.probes[1:] if probe.decision is not None]
    assert {each.kind for each in probed} == {"width", "weight_bits"}
    bits = [
        probe.value
        for probe in plan.probes[1:]
        if probe.decision is not None
        and decisions[probe.decision].name == "weight_bits.stage1.block0.first"
    ]
    assert bits == [2, 6, 3]  # the far end first
    notes = {SensitivityProfile(problem.space, plan).ask(TrialLedger()).note}
    assert notes == {"profile: every decision at its largest"}
    assert len(plan_profile(problem, 0.5).probes) < len(plan.probes)  # affordable all the same


def test_curves_over_bits_are_near_those_of_the_formula() -> None:
    options = {"weight_bits": (2, 3, 4, 6, 8), "activation_bits": (2, 4, 8), "edge_bits": None}
    problem = problem_of(
        plain_graph((20, 40)), metric="bit_operations", ratio=0.05, evaluations=1000, **options
    )

    profile, evaluator = run(problem.space, plan_profile(problem, 100, levels=3, images=10_000))

    curves = profile.curves("accuracy")
    for decision, curve in zip(problem.space.decisions, curves, strict=True):
        if decision.kind != "width":
            noise = 2.0 ** (1 - np.array(decision.allowed)) - 2.0**-7
            expected = evaluator.layer_sensitivity[decision.target] * noise
            assert curve == pytest.approx(expected, abs=0.02)
