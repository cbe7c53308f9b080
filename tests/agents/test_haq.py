import numpy as np
import pytest

from automl_agents.catalogue import check_options, create_searcher
from automl_agents.reinforcement.bits_space import with_bits_alone
from automl_agents.reinforcement.haq import HaqSearcher
from automl_agents.reinforcement.haq_config import HaqConfig
from automl_compress.core import Effort, SearchProblem
from automl_compress.core.errors import BudgetUnreachable, InvalidInput
from automl_envs.haq_walk import HaqWalk
from tests.agents.joint_contract import BITS, JointSearcherContract
from tests.contracts.searcher import Create, complete
from tests.fakes import FormulaEvaluator, plain_graph, problem_of

SMALL = {"hidden": (16, 16), "batch_size": 8}
CONFIGS = {
    "default": HaqConfig(**SMALL),
    "bound": HaqConfig(**SMALL, limit="bound"),
    "faithful": HaqConfig(
        **SMALL, mode="faithful", limit="published", warmup_evaluations=4, noise_decay=0.99
    ),
}


class TestHaq(JointSearcherContract):
    @pytest.fixture(params=["default", "faithful"])
    def create(self, request: pytest.FixtureRequest) -> Create:
        return lambda problem: HaqSearcher(problem, CONFIGS[request.param])


class TestHaqOfTheCatalogue(JointSearcherContract):
    """Behind its profile, where the space opens densities too."""

    schemes = ("element",)

    @pytest.fixture
    def create(self) -> Create:
        options = {"hidden": [16, 16], "batch_size": 8}
        return lambda problem: create_searcher("haq", problem, options)


def joint_problem(**options: object) -> SearchProblem:
    given = {"metric": "size_bytes", "ratio": 0.15, "evaluations": 16} | BITS | options
    return problem_of(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", list(CONFIGS))
def test_channels_and_densities_stay_whole(name: str) -> None:
    problem = joint_problem(schemes=("channel", "element"))
    searcher = HaqSearcher(problem, CONFIGS[name])

    for _ in range(6):
        suggestion = searcher.ask()
        policy = suggestion.policy
        assert policy.widths(problem.space.graph) == problem.space.graph.full_widths
        assert {choice.sparsity for choice in policy.layers} == {0.0}
        assert problem.space.within(problem.space.setting(policy), problem.budget)
        searcher.tell(complete(problem, suggestion))


def test_bits_alone_cost_what_they_cost_in_the_whole_space() -> None:
    problem = joint_problem(schemes=("channel", "element"), fix=(("stage1", 0.25),))
    bits, whole = with_bits_alone(problem).space, problem.space

    for setting in (
        bits.smallest,
        bits.largest,
        bits.sample(np.random.default_rng(1), problem.budget),
    ):
        policy = bits.policy(setting)
        assert bits.costs.cost(setting) == whole.costs.cost(whole.setting(policy))
        assert policy.widths(whole.graph)[whole.graph.group_index["stage1"]] == 24


def test_default_stores_what_was_measured() -> None:
    problem = joint_problem()
    searcher = HaqSearcher(problem, CONFIGS["default"])
    suggestion = searcher.ask()

    searcher.tell(complete(problem, suggestion))

    stored = searcher.snapshot().arrays["replay.actions"][:, 0]
    places = {2: 0.2, 3: 0.4, 4: 0.6, 6: 0.8, 8: 1.0}
    chosen = {choice.layer: choice for choice in suggestion.policy.layers}
    inner = problem.space.graph.layers[1:-1]  # bits of first and last layer are fixed
    expected = [
        [places[chosen[layer.name].weight_bits], chosen[layer.name].activation_bits / 8]
        for layer in inner
    ]
    assert stored == pytest.approx(2 * np.array(expected) - 1, abs=1e-6)


def test_faithful_stores_the_actions_that_the_sweep_undid() -> None:
    problem = joint_problem()
    searcher = HaqSearcher(problem, CONFIGS["faithful"])
    suggestion = searcher.ask()
    episode = searcher.waiting(suggestion.number)

    searcher.tell(complete(problem, suggestion))

    stored = searcher.snapshot().arrays["replay.actions"].ravel()
    assert stored == pytest.approx(2 * episode.actions.ravel() - 1, abs=1e-6)
    # The very actions lead to the policy by the published map and sweep.
    bits = with_bits_alone(problem)
    walk = HaqWalk(bits.space, bits.budget)
    for action in episode.actions:
        walk.step(action)
    assert walk.policy() == suggestion.policy
    before = [walk.chosen[site.decisions[0]] for site in walk.order]
    assert before != [walk.setting[site.decisions[0]] for site in walk.order]


def test_faithful_reward_is_ten_times_the_accuracy() -> None:
    problem = joint_problem()
    searcher = HaqSearcher(problem, CONFIGS["faithful"])
    trial = complete(problem, searcher.ask())

    searcher.tell(trial)

    assert trial.measurement is not None
    rewards = searcher.snapshot().arrays["replay.rewards"].ravel()
    assert rewards == pytest.approx([10 * trial.measurement.accuracy] * len(rewards))


def test_faithful_replay_holds_128_transitions_of_each_layer_and_samples_all() -> None:
    problem = joint_problem()
    searcher = create_searcher("haq", problem, {"mode": "faithful"})

    assert isinstance(searcher, HaqSearcher)
    replay = searcher._agent.replay
    assert replay.buffer_size == 128 * (len(problem.space.graph.layers) - 2)
    assert not replay._skips_first


def test_faithful_mode_learns_only_after_its_warmup() -> None:
    problem = joint_problem()
    searcher = HaqSearcher(problem, CONFIGS["faithful"])  # four warm-up episodes

    def actor_after(trials: int) -> np.ndarray:
        for _ in range(trials):
            searcher.tell(complete(problem, searcher.ask()))
        return searcher.snapshot().arrays["policy.actor.mu.0.weight"]

    begun, warm = actor_after(0), actor_after(4)
    assert np.array_equal(begun, warm)
    assert not np.array_equal(warm, actor_after(1))


def test_faithful_constants_are_those_of_the_public_code() -> None:
    config = HaqConfig.faithful()

    assert (config.batch_size, config.hidden, config.replay_episodes) == (64, (300, 300), 128)
    assert (config.actor_learning_rate, config.critic_learning_rate) == (1e-4, 1e-3)
    assert (config.tau, config.discount, config.baseline_decay) == (0.01, 1.0, 0.5)
    # sigma = 0.5 * 0.99^(episode - 20), the warm-up being episodes 0 to 20
    assert config.warmup(Effort(600)) == 21
    assert config.sigma(21, Effort(600)) == pytest.approx(0.5 * 0.99)
    assert config.sigma(120, Effort(600)) == pytest.approx(0.5 * 0.99**100)


@pytest.mark.parametrize(
    "options", [{}, {"schemes": ("element",), "metric": "size_bytes"}, {"weight_bits": (8,)}]
)
def test_spaces_without_open_bits_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="it decides bits, and no layer has a choice"):
        create_searcher("haq", problem_of(**options), {})  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"metric": "macs"}, {"ratio": 0.07}])
def test_budgets_that_bits_alone_do_not_reach_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="leaves channels and densities whole") as refused:
        create_searcher("haq", joint_problem(**options), {})
    assert not isinstance(refused.value, BudgetUnreachable)


def test_budgets_that_nothing_reaches_are_refused_with_the_smallest_cost() -> None:
    with pytest.raises(BudgetUnreachable, match="smallest policy"):
        create_searcher("haq", joint_problem(ratio=0.0001), {})


@pytest.mark.parametrize(
    "options", [{"limit": "published"}, {"mode": "faithful", "limit": "scale"}]
)
def test_sweep_and_faithful_mode_belong_together(options: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="the sweep, 'published', belongs to the faithful mode"):
        check_options("haq", options)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default", "faithful"])
def test_it_finds_which_of_three_layers_needs_its_bits(name: str) -> None:
    problem = problem_of(
        plain_graph((16, 16, 16)), evaluations=80, seed=1, metric="bit_operations", ratio=0.03,
        schemes=(), weight_bits=(1, 2, 3, 4, 5, 6, 7, 8), activation_bits=(8,),
    )  # fmt: skip
    evaluator = FormulaEvaluator(problem.space)
    names = [layer.name for layer in problem.space.graph.layers]
    evaluator.layer_sensitivity = dict(zip(names, (0.0, 0.02, 0.9, 0.0), strict=True))
    rates = {"actor_learning_rate": 1e-3, "hidden": (64, 64), "noise_sigma": 0.3}
    mode = {} if name == "default" else {
        "mode": "faithful", "limit": "published", "warmup_evaluations": 20, "noise_decay": 0.95,
    }  # fmt: skip
    searcher = HaqSearcher(problem, HaqConfig(**(rates | mode)))  # type: ignore[arg-type]

    scores = []
    for _ in range(80):
        suggestion = searcher.ask()
        measurement = evaluator.evaluate(suggestion.policy)
        scores.append(measurement.score)
        searcher.tell(suggestion.complete(measurement))

    assert np.mean(scores[-15:]) > np.mean(scores[:20]) + 0.03
