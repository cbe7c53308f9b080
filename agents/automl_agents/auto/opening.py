"""Whether `auto` begins with a sensitivity profile, and why not where it does not."""

from automl_agents.allocation.profile_plan import ProfilePlan, plan_profile
from automl_agents.auto.config import AutoConfig
from automl_agents.auto.subspaces import SubspaceRace
from automl_compress.core import SearchProblem

LEVELS = 3  # values of each decision that the profile measures
_DEAREST = 2.0  # shares of the effort: a smallest profile that costs more is not begun


def opening_profile(
    problem: SearchProblem, config: AutoConfig, decisions: int, race: SubspaceRace
) -> tuple[ProfilePlan, str]:
    """Choose the probes.

    Args:
        problem: space, effort, and what an evaluation costs.
        config: what share of the effort the profile may have.
        decisions: how many of the space's decisions the budget counts.
        race: compares parts of the space; where it is run, it takes the profile's place.

    Returns:
        The plan, which has no probes where the profile is left out, and then why, for the trial
        log: it begins with a semicolon; empty where there is a profile.
    """
    share = problem.effort.evaluations * config.profile_share
    plan = plan_profile(problem, share, LEVELS, config.subset_images or problem.images)
    cost = len(plan.probes) * problem.evaluations(plan.images)
    if race.is_run:
        why = "parts of the space are compared in its place"
    elif decisions < 2:
        why = "fewer than two decisions count in the budget, so there is nothing to compare"
    elif not share:
        why = "profile_share is 0"
    elif cost > _DEAREST * share:
        why = (
            f"its smallest form, {len(plan.probes)} probes on {plan.images:,} images, costs "
            f"{cost:.1f} evaluations, and its share of the effort is {share:.1f}"
        )
    else:
        return plan, ""
    return ProfilePlan((), plan.images), f"; no sensitivity profile: {why}"
