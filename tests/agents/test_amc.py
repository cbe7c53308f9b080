import numpy as np
import pytest
import torch

from automl_agents.catalogue import create_searcher
from automl_agents.random_stream import random_stream
from automl_agents.reinforcement.amc import AmcSearcher
from automl_agents.reinforcement.amc_config import AmcConfig
from automl_compress.core import Effort, SearchProblem
from automl_compress.core.errors import InvalidInput, WrongState
from automl_envs.environment import CompressionEnv
from automl_envs.walk import LayerWalk, WalkRules
from tests.agents.joint_contract import BITS, JointSearcherContract
from tests.contracts.searcher import Create, complete
from tests.fakes import FormulaEvaluator, plain_graph, problem_of

SMALL = {"hidden": (16, 16), "batch_size": 8}
CONFIGS = {
    "corrected": AmcConfig(**SMALL),
    "bound": AmcConfig(**SMALL, limit="bound"),
    "faithful": AmcConfig(
        **SMALL, mode="faithful", limit="published", warmup_evaluations=4, noise_decay=0.95
    ),
}


def advance(searcher: AmcSearcher, problem: SearchProblem, trials: int) -> None:
    for _ in range(trials):
        searcher.tell(complete(problem, searcher.ask()))


@pytest.mark.parametrize("name", list(CONFIGS))
def test_environment_and_searcher_are_the_same_decision_process(name: str) -> None:
    problem, config = problem_of(evaluations=16), CONFIGS[name]
    searcher = AmcSearcher(problem, config)
    evaluator = FormulaEvaluator(problem.space)
    observation = "published" if name == "faithful" else "corrected"
    rules = WalkRules(config.limit_of(problem))
    env = CompressionEnv(
        problem.space, problem.budget, evaluator, observation=observation, rules=rules
    )

    for _ in range(12):
        suggestion = searcher.ask()
        episode = searcher.waiting(suggestion.number)
        seen = [env.reset()[0]]
        for action, bounds in zip(episode.actions, episode.bounds, strict=True):
            assert env.walk.bounds() == pytest.approx(bounds)
            observed, reward, _, _, info = env.step(action)
            seen.append(observed)
        trial = complete(problem, suggestion)

        assert np.array_equal(np.stack(seen), episode.observations)
        assert info["policy"] == suggestion.policy
        assert trial.measurement is not None
        assert reward == trial.measurement.score
        searcher.tell(trial)


def test_faithful_constants_are_those_of_the_public_code() -> None:
    config = AmcConfig.faithful()

    assert (config.warmup_evaluations, config.batch_size, config.hidden) == (101, 64, (300, 300))
    assert (config.actor_learning_rate, config.critic_learning_rate) == (1e-4, 1e-3)
    assert (config.tau, config.discount, config.baseline_decay) == (0.01, 1.0, 0.5)
    # sigma = 0.5 * 0.95^(episode - 100): episodes 101 and 145
    assert config.sigma(101, Effort(800)) == pytest.approx(0.475)
    assert config.sigma(145, Effort(800)) == pytest.approx(0.5 * 0.95**45)


def test_corrected_schedule_follows_the_effort() -> None:
    config = AmcConfig()

    assert config.warmup(Effort(300)) == 75
    assert config.warmup(Effort(1)) == 1
    assert config.sigma(75, Effort(300)) == pytest.approx(0.3, rel=0.02)
    assert config.sigma(299, Effort(300)) == pytest.approx(0.03)


def test_first_corrected_suggestion_is_the_uniform_policy() -> None:
    problem = problem_of()

    first = AmcSearcher(problem, CONFIGS["corrected"]).ask()

    assert first.policy.widths(problem.space.graph) == problem.space.uniform(problem.budget)


def test_corrected_mode_stores_the_policy_that_was_measured() -> None:
    problem = problem_of(evaluations=16)
    searcher = AmcSearcher(problem, CONFIGS["corrected"])
    advance(searcher, problem, 10)

    suggestion = searcher.ask()
    searcher.tell(complete(problem, suggestion))

    widths = np.array(suggestion.policy.widths(problem.space.graph))
    stored = searcher.snapshot().arrays["replay.actions"][-9:].ravel()
    assert stored == pytest.approx(2 * widths / problem.space.graph.full_widths - 1, abs=1e-6)


def test_faithful_mode_stores_raw_actions() -> None:
    problem = problem_of(evaluations=16)
    searcher = AmcSearcher(problem, CONFIGS["faithful"])
    suggestion = searcher.ask()
    raw = searcher.waiting(suggestion.number).actions

    searcher.tell(complete(problem, suggestion))

    stored = searcher.snapshot().arrays["replay.actions"].ravel()
    assert stored == pytest.approx(2 * raw.ravel() - 1, abs=1e-6)


def test_every_transition_of_an_episode_gets_its_final_reward() -> None:
    problem = problem_of(evaluations=16)
    searcher = AmcSearcher(problem, CONFIGS["corrected"])

    trial = complete(problem, searcher.ask())
    searcher.tell(trial)

    arrays = searcher.snapshot().arrays
    assert trial.measurement is not None
    assert arrays["replay.rewards"].ravel() == pytest.approx([trial.measurement.score] * 9)
    assert arrays["replay.dones"].ravel().tolist() == [0.0] * 8 + [1.0]


def test_faithful_mode_learns_only_after_its_warmup() -> None:
    problem = problem_of(evaluations=16)
    searcher = AmcSearcher(problem, CONFIGS["faithful"])  # four warm-up episodes
    begun = searcher.snapshot().arrays

    advance(searcher, problem, 4)
    after_warmup = searcher.snapshot().arrays
    advance(searcher, problem, 1)
    after_one_more = searcher.snapshot().arrays

    weights = [name for name in begun if name.startswith("policy.")]
    assert all(np.array_equal(begun[name], after_warmup[name]) for name in weights)
    assert not all(np.array_equal(begun[name], after_one_more[name]) for name in weights)


def test_neither_building_nor_training_touches_the_global_generators() -> None:
    problem = problem_of(evaluations=16)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: TID251 - the global state is what is tested

    advance(AmcSearcher(problem, CONFIGS["corrected"]), problem, 6)

    drawn = torch.rand(1), np.random.random()
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: TID251
    assert drawn == (torch.rand(1), np.random.random())


def test_snapshot_of_another_mode_is_refused() -> None:
    problem = problem_of(evaluations=16)
    snapshot = AmcSearcher(problem, CONFIGS["faithful"]).snapshot()

    with pytest.raises(WrongState, match="start a new study"):
        AmcSearcher(problem, CONFIGS["corrected"]).restore(snapshot)


def test_snapshot_holds_arrays_that_safetensors_can_store() -> None:
    problem = problem_of(evaluations=16)
    searcher = AmcSearcher(problem, CONFIGS["corrected"])
    advance(searcher, problem, 6)
    searcher.ask()

    arrays = searcher.snapshot().arrays

    assert {str(array.dtype) for array in arrays.values()} == {"float32", "int64", "bool"}
    assert "waiting.6.actions" in arrays


@pytest.mark.slow
def test_it_finds_which_of_two_groups_can_be_cut() -> None:
    problem = problem_of(plain_graph((16, 32, 16)), evaluations=80, seed=1)
    evaluator = FormulaEvaluator(problem.space)
    evaluator.sensitivity = np.array([0.45, 0.02, 0.45])
    searcher = AmcSearcher(problem, AmcConfig(hidden=(64, 64), actor_learning_rate=1e-3))

    scores = []
    for _ in range(80):
        suggestion = searcher.ask()
        measurement = evaluator.evaluate(suggestion.policy)
        scores.append(measurement.score)
        trial = complete(problem, suggestion)
        searcher.tell(type(trial)(trial.number, trial.policy, trial.state, measurement))

    assert np.mean(scores[-15:]) > np.mean(scores[:20]) + 0.03


def test_streams_depend_on_seed_and_counters_alone() -> None:
    drawn = random_stream(3, 0, 7).random()

    assert random_stream(3, 0, 7).random() == drawn
    assert len({random_stream(*k).random() for k in ((3, 0, 7), (3, 1, 7), (-3, 0, 7))}) == 3


class TestAmcOnJointSpaces(JointSearcherContract):
    @pytest.fixture
    def create(self) -> Create:
        options = {"hidden": [16, 16], "batch_size": 8, "profile_share": 0.0}
        return lambda problem: create_searcher("amc", problem, options)


class TestAmcOnElements(TestAmcOnJointSpaces):
    schemes = ("element",)


def joint_problem(**options: object) -> SearchProblem:
    return problem_of(metric="size_bytes", ratio=0.15, evaluations=16, **(BITS | options))  # type: ignore[arg-type]


def test_one_action_decides_all_that_a_layer_opens() -> None:
    problem = joint_problem(schemes=("channel", "element"))
    searcher = AmcSearcher(problem, CONFIGS["corrected"])

    episode = searcher.waiting(searcher.ask().number)

    assert episode.actions.shape == (len(problem.space.graph.layers), 4)
    assert episode.bounds.shape == (*episode.actions.shape, 2)


@pytest.mark.parametrize("limit", ["scale", "bound"])
def test_joint_replay_holds_the_shares_that_were_measured(limit: str) -> None:
    problem = joint_problem()
    searcher = AmcSearcher(problem, AmcConfig(**SMALL, limit=limit))  # type: ignore[arg-type]
    advance(searcher, problem, 5)

    suggestion = searcher.ask()
    searcher.tell(complete(problem, suggestion))

    space = problem.space
    shares = space.shares(space.setting(suggestion.policy))
    sites = LayerWalk(space, problem.budget, WalkRules()).order
    expected = [[1.0 if p is None else shares[p] for p in site.places] for site in sites]
    stored = searcher.snapshot().arrays["replay.actions"][-len(sites) :, 0]
    assert stored == pytest.approx(2 * np.array(expected) - 1, abs=1e-6)


def test_joint_environment_and_searcher_are_the_same_decision_process() -> None:
    problem = joint_problem()
    searcher = AmcSearcher(problem, CONFIGS["corrected"])
    env = CompressionEnv(problem.space, problem.budget, FormulaEvaluator(problem.space))

    for _ in range(6):
        suggestion = searcher.ask()
        episode = searcher.waiting(suggestion.number)
        seen = [env.reset()[0]]
        for action in episode.actions:
            observed, _, _, _, info = env.step(action)
            seen.append(observed)
        searcher.tell(complete(problem, suggestion))

        assert np.array_equal(np.stack(seen), episode.observations)
        assert info["policy"] == suggestion.policy


@pytest.mark.parametrize("options", [{"mode": "faithful"}, {"limit": "published"}])
def test_published_forms_are_refused_where_more_than_widths_is_open(options: dict) -> None:
    [(name, value)] = options.items()
    with pytest.raises(InvalidInput, match=f"{name} '{value}' is AMC's code, which decides widths"):
        create_searcher("amc", joint_problem(), options)
    create_searcher("amc", problem_of(), options)
