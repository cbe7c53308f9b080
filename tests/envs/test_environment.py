import itertools

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import DDPG, PPO
from stable_baselines3.common.env_checker import check_env as check_env_for_stable_baselines

from automl_compress.core import Budget, Measurement, Policy
from automl_compress.core.errors import UnknownName, WrongState
from automl_envs.environment import CompressionEnv
from automl_envs.rewards import ErrorTimesLogCost
from automl_envs.walk import WalkRules
from tests.fakes import FormulaEvaluator, plain_graph, residual_graph, space_of

FORMS = [("corrected", "scale"), ("corrected", "bound"), ("published", "published")]
BUDGET = Budget("macs", 0.5)


def environment(
    observation: str = "corrected", limit: str = "scale", graph=None, **options
) -> CompressionEnv:
    space = space_of(graph or residual_graph())
    rules = WalkRules(limit)  # type: ignore[arg-type]
    evaluator = FormulaEvaluator(space)
    return CompressionEnv(space, BUDGET, evaluator, observation=observation, rules=rules, **options)


@pytest.mark.parametrize(("observation", "limit"), FORMS)
@pytest.mark.parametrize("graph", [residual_graph(), plain_graph((8,))], ids=["residual", "one"])
# Actions are keep ratios: Stable-Baselines3 scales them itself, and only recommends [-1, 1].
@pytest.mark.filterwarnings("ignore:We recommend you to use a symmetric")
@pytest.mark.filterwarnings("ignore:.*we recommend using a symmetric and normalized space")
def test_both_checkers_accept_the_environment(observation: str, limit: str, graph) -> None:
    check_env(environment(observation, limit, graph), skip_render_check=True)
    check_env_for_stable_baselines(environment(observation, limit, graph))


@pytest.mark.parametrize(("observation", "limit"), FORMS)
def test_episode_pays_at_its_end_and_hands_over_policy_and_measurement(
    observation: str, limit: str
) -> None:
    env = environment(observation, limit)
    env.reset(seed=1)

    steps = [env.step(np.array([0.6], dtype=np.float32)) for _ in range(9)]

    assert [terminated for _, _, terminated, _, _ in steps] == [False] * 8 + [True]
    assert [reward for _, reward, _, _, _ in steps[:8]] == [0.0] * 8
    *_, info = steps[-1]
    assert isinstance(info["policy"], Policy)
    assert isinstance(info["measurement"], Measurement)
    assert steps[-1][1] == info["measurement"].score
    assert env.walk.space.within(info["policy"].widths(env.walk.space.graph), BUDGET)


def test_named_reward_is_paid() -> None:
    env = environment(reward=ErrorTimesLogCost())
    env.reset()

    for _ in range(9):
        _, reward, _, _, info = env.step(np.array([0.6]))

    assert reward == ErrorTimesLogCost()(info["measurement"], env.walk.space.full)


def test_step_after_the_end_raises() -> None:
    env = environment(graph=plain_graph((8,)))
    env.reset()
    env.step(np.array([0.5]))

    with pytest.raises(WrongState):
        env.step(np.array([0.5]))


def test_unknown_observation_is_refused() -> None:
    with pytest.raises(UnknownName):
        environment("picture")


@pytest.mark.slow
@pytest.mark.parametrize(("observation", "limit"), FORMS)
def test_stock_algorithms_learn_on_it(observation: str, limit: str) -> None:
    evaluators = []
    for create in (
        lambda env: DDPG("MlpPolicy", env, learning_starts=18, batch_size=8, device="cpu", seed=0),
        lambda env: PPO("MlpPolicy", env, n_steps=18, batch_size=9, device="cpu", seed=0),
    ):
        env = environment(observation, limit)
        create(env).learn(36)
        evaluators.append(env._evaluator)

    assert [len(evaluator.calls) for evaluator in evaluators] == [4, 4]


OPENED = {
    "width": {"schemes": ("channel",)},
    "density": {"schemes": ("element",)},
    "weight_bits": {"weight_bits": (2, 4, 8)},
    "activation_bits": {"activation_bits": (4, 8)},
}
COMBINATIONS = [kinds for count in range(1, 5) for kinds in itertools.combinations(OPENED, count)]


def environment_of(kinds: tuple[str, ...], limit: str = "scale") -> CompressionEnv:
    schemes = {"width": "channel", "density": "element"}
    options = {k: v for kind in kinds for k, v in OPENED[kind].items()}
    options["schemes"] = tuple(schemes[kind] for kind in kinds if kind in schemes)
    space = space_of(plain_graph((8, 16)), edge_bits=None, **options)
    cheapest, dearest = (
        space.costs.cost(s).bit_operations for s in (space.smallest, space.largest)
    )
    budget = Budget("bit_operations", (cheapest + dearest) / 2 / space.full.bit_operations)
    return CompressionEnv(space, budget, FormulaEvaluator(space), rules=WalkRules(limit))  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", ["scale", "bound"])
@pytest.mark.parametrize("kinds", COMBINATIONS, ids="-".join)
@pytest.mark.filterwarnings("ignore:We recommend you to use a symmetric")
@pytest.mark.filterwarnings("ignore:.*we recommend using a symmetric and normalized space")
def test_both_checkers_accept_every_combination_of_opened_kinds(
    kinds: tuple[str, ...], limit: str
) -> None:
    env = environment_of(kinds, limit)

    check_env(env, skip_render_check=True)
    check_env_for_stable_baselines(environment_of(kinds, limit))

    assert env.walk.kinds == kinds
    assert env.action_space.shape == (len(kinds),)


@pytest.mark.parametrize("kinds", COMBINATIONS, ids="-".join)
def test_episode_of_any_combination_ends_in_a_policy_within_the_budget(
    kinds: tuple[str, ...], rng: np.random.Generator
) -> None:
    env = environment_of(kinds)
    env.reset()
    realised: list[str] = []
    terminated = False
    while not terminated:
        _, _, terminated, _, info = env.step(rng.uniform(size=len(kinds)))
        realised += info["realised"]

    space = env.walk.space
    assert space.within(space.setting(info["policy"]), env.walk.budget)
    decided = [d.kind for d in space.decisions if len(d.allowed) > 1]
    assert sorted(realised) == sorted(decided)
