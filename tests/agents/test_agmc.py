from pathlib import Path

import numpy as np
import pytest
import torch

from automl_agents.catalogue import check_options, create_searcher
from automl_agents.reinforcement.agmc import AgmcSearcher, OneShotAgmcSearcher
from automl_agents.reinforcement.agmc_config import AgmcConfig
from automl_agents.reinforcement.amc import AmcSearcher
from automl_agents.reinforcement.amc_config import AmcConfig
from automl_agents.reinforcement.encoder_file import save_encoder
from automl_agents.reinforcement.episode_searcher import EpisodeSearcher
from automl_compress.core import SearchProblem
from automl_compress.core.errors import InvalidInput
from tests.agents.joint_contract import BITS, JointSearcherContract
from tests.contracts.searcher import Create, SearcherContract, complete, through_json
from tests.fakes import FormulaEvaluator, plain_graph, problem_of

SMALL = {
    "hidden": (16, 16), "batch_size": 8, "encoder_width": 8, "encoder_rounds": 2, "embedding": 6,
}  # fmt: skip
ENCODER = "policy.actor.features_extractor.encoder."


def corrected(problem: SearchProblem, **options: object) -> AgmcSearcher:
    return AgmcSearcher(problem, AgmcConfig(**(SMALL | options)))  # type: ignore[arg-type]


def faithful(problem: SearchProblem, **options: object) -> OneShotAgmcSearcher:
    given = SMALL | {"mode": "faithful", "warmup_evaluations": 4} | options
    return OneShotAgmcSearcher(problem, AgmcConfig(**given))  # type: ignore[arg-type]


SETTINGS = {
    "default": (corrected, {}),
    "discounted": (corrected, {"discount": 0.9, "limit": "bound"}),
    "frozen random": (corrected, {"encoder": "frozen_random"}),
    "faithful": (faithful, {}),
}


class TestAgmc(SearcherContract):
    # The default form passes with the catalogue; a frozen encoder differs in training alone.
    @pytest.fixture(params=["discounted", "faithful"])
    def create(self, request: pytest.FixtureRequest) -> Create:
        build, options = SETTINGS[request.param]
        return lambda problem: build(problem, **options)


def advance(searcher: EpisodeSearcher, problem: SearchProblem, trials: int) -> None:
    for _ in range(trials):
        searcher.tell(complete(problem, searcher.ask()))


def encoder_weights(searcher: EpisodeSearcher) -> dict[str, np.ndarray]:
    arrays = searcher.snapshot().arrays
    return {name: array for name, array in arrays.items() if name.startswith(ENCODER)}


@pytest.mark.parametrize("name", list(SETTINGS))
def test_restored_it_learns_what_it_would_have_learned(name: str) -> None:
    """Bit by bit: asks alone are rounded to whole channels, which hides small differences."""
    build, options = SETTINGS[name]
    problem = problem_of(evaluations=16)
    original, restored = build(problem, **options), build(problem, **options)
    advance(original, problem, 7)
    restored.restore(through_json(original.snapshot()))

    advance(original, problem, 3)
    advance(restored, problem, 3)

    arrays, expected = restored.snapshot().arrays, original.snapshot().arrays
    assert arrays.keys() == expected.keys()
    assert [k for k in arrays if not np.array_equal(arrays[k], expected[k])] == []


@pytest.mark.parametrize("build", [corrected, faithful])
def test_every_weight_of_the_encoder_changes_during_training(build: Create) -> None:
    problem = problem_of(evaluations=16)
    searcher = build(problem)
    begun = encoder_weights(searcher)

    advance(searcher, problem, 8)

    trained = encoder_weights(searcher)
    assert len(trained) > 5
    for name, array in trained.items():
        assert not np.array_equal(array, begun[name]), name


@pytest.mark.parametrize("build", [corrected, faithful])
def test_frozen_random_encoder_stays_as_it_was(build: Create) -> None:
    problem = problem_of(evaluations=16)
    searcher = build(problem, encoder="frozen_random")
    begun = encoder_weights(searcher)
    actor = "policy.actor.mu.0.weight"
    actor_begun = searcher.snapshot().arrays[actor]

    advance(searcher, problem, 8)

    assert all(np.array_equal(array, begun[k]) for k, array in encoder_weights(searcher).items())
    assert not np.array_equal(searcher.snapshot().arrays[actor], actor_begun)


def test_encoder_moves_at_its_own_rate_alone() -> None:
    problem = problem_of(evaluations=16)
    searcher = corrected(problem, encoder_learning_rate=1e-7)
    begun = encoder_weights(searcher)

    advance(searcher, problem, 8)

    moved = max(np.abs(array - begun[k]).max() for k, array in encoder_weights(searcher).items())
    # 8 * 9 updates; a step of Adam is seldom longer than its rate. The actor's rate is 1e-4.
    assert 0.0 < moved < 5e-5


@pytest.mark.parametrize("flat", ["neither", "critic's", "actor's"])
def test_each_loss_alone_reaches_the_encoder(flat: str) -> None:
    problem = problem_of(evaluations=16)
    searcher = corrected(problem)
    advance(searcher, problem, 2)
    agent = searcher._agent
    batch = agent.replay.sample(8)
    seen = agent._encoder(batch.observations).detach().requires_grad_()
    targets = torch.linspace(-1.0, 1.0, 8)[:, None]
    if flat == "critic's":  # all values are as they should be
        targets = agent._network(torch.cat([seen, batch.actions], dim=1)).detach()
    if flat == "actor's":  # the action is the same whatever is seen
        torch.nn.init.zeros_(agent.actor.mu[-2].weight)

    gradient = agent._descend(seen, batch.actions, targets)

    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_encoder_cannot_flatter_the_critic() -> None:
    """With both losses flat nothing moves it, though the critic's value depends on what is seen."""
    problem = problem_of(evaluations=16)
    searcher = corrected(problem)
    advance(searcher, problem, 2)
    agent = searcher._agent
    batch = agent.replay.sample(8)
    seen = agent._encoder(batch.observations).detach().requires_grad_()
    targets = agent._network(torch.cat([seen, batch.actions], dim=1)).detach()
    torch.nn.init.zeros_(agent.actor.mu[-2].weight)

    gradient = agent._descend(seen, batch.actions, targets)

    assert gradient is not None
    assert gradient.abs().max() == 0.0


def test_without_the_graph_it_is_corrected_amc() -> None:
    problem = problem_of(evaluations=16)
    ours = corrected(problem, encoder="none")
    amc = AmcSearcher(problem, AmcConfig(hidden=(16, 16), batch_size=8))

    for _ in range(12):
        suggestion = ours.ask()
        assert suggestion == amc.ask()
        for searcher in (ours, amc):
            searcher.tell(complete(problem, suggestion))


def test_replay_holds_states_of_groups_and_no_embedding() -> None:
    problem = problem_of(evaluations=16)
    searcher = corrected(problem)
    advance(searcher, problem, 3)

    stored = searcher.snapshot().arrays["replay.observations"]

    groups = len(problem.space.graph.groups)
    assert stored.shape[-1] == 13 + 3 * groups
    assert stored[:, 0, -groups:].sum(axis=1).tolist() == [1.0] * len(stored)  # one is current


def test_one_shot_episode_is_one_transition_with_all_groups() -> None:
    problem = problem_of(evaluations=16)
    searcher = faithful(problem)
    advance(searcher, problem, 2)
    suggestion = searcher.ask()

    searcher.tell(complete(problem, suggestion))

    arrays = searcher.snapshot().arrays
    widths = np.array(suggestion.policy.widths(problem.space.graph))
    assert arrays["replay.actions"].shape == (3, 1, 9)
    assert arrays["replay.actions"][-1, 0] == pytest.approx(
        2 * widths / problem.space.graph.full_widths - 1, abs=1e-6
    )
    assert arrays["replay.dones"].ravel().tolist() == [1.0] * 3


def test_one_shot_groups_are_drawn_around_their_own_actions() -> None:
    problem = problem_of(evaluations=16)
    searcher = faithful(problem, noise_sigma=1e-6, warmup_evaluations=0)
    means = searcher._agent.shares(searcher._uncut)

    drawn = searcher.waiting(searcher.ask().number).actions

    assert np.ptp(means) > 1e-3
    assert drawn.ravel() == pytest.approx(means, abs=1e-4)


def test_one_shot_warmup_removes_at_most_three_tenths_before_scaling() -> None:
    searcher = faithful(problem_of(evaluations=16))

    actions = np.concatenate([searcher.waiting(searcher.ask().number).actions for _ in range(4)])

    assert 0.7 <= actions.min() < 0.75
    assert 0.95 < actions.max() <= 1.0


def test_faithful_constants_are_those_of_the_public_code() -> None:
    config = AgmcConfig.faithful()

    assert (config.warmup_evaluations, config.replay_episodes, config.batch_size) == (25, 100, 64)
    assert (config.noise_sigma, config.noise_decay, config.tau) == (0.5, 0.95, 0.01)
    assert isinstance(
        create_searcher("agmc", problem_of(), {"mode": "faithful"}), OneShotAgmcSearcher
    )
    alone = {"profile_share": 0.0}
    assert isinstance(create_searcher("agmc", problem_of(), alone), AgmcSearcher)


@pytest.fixture
def encoder_file(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """An encoder that was trained on another network."""
    problem = problem_of(plain_graph((16, 32, 16)), evaluations=16)
    searcher = corrected(problem)
    advance(searcher, problem, 8)
    save_encoder(searcher.snapshot(), tmp_path / "encoder.safetensors")
    return tmp_path / "encoder.safetensors", encoder_weights(searcher)


@pytest.mark.parametrize("build", [corrected, faithful])
@pytest.mark.parametrize("freezes", [False, True])
def test_encoder_of_another_network_is_where_training_begins(
    encoder_file: tuple[Path, dict[str, np.ndarray]], build: Create, freezes: bool
) -> None:
    path, expected = encoder_file
    problem = problem_of(evaluations=16)
    searcher = build(problem, transfer_from=str(path), freeze_encoder=freezes)
    begun = encoder_weights(searcher)

    advance(searcher, problem, 8)

    trained = encoder_weights(searcher)
    assert all(np.array_equal(begun[name], expected[name]) for name in expected)
    assert all(np.array_equal(trained[name], begun[name]) for name in begun) == freezes


def test_encoder_of_other_sizes_is_refused(
    encoder_file: tuple[Path, dict[str, np.ndarray]],
) -> None:
    with pytest.raises(InvalidInput, match="set encoder_width, encoder_rounds and embedding"):
        corrected(problem_of(), transfer_from=str(encoder_file[0]), embedding=5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"encoder": "magic"}, "'trained' or 'frozen_random' or 'none'"),
        ({"embedding": 0}, "embedding is 0; give a number above 0"),
        ({"encoder_learning_rate": 0.0}, "encoder_learning_rate is 0.0"),
        ({"encoder": "none", "transfer_from": "x"}, "goes with encoder 'trained'"),
        ({"freeze_encoder": True}, "frozen_random"),
        ({"mode": "faithful", "encoder": "none"}, "sees nothing but the graph"),
        ({"discount": 2.0}, "from 0 to 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        check_options("agmc", options)


def test_a_file_is_refused_where_options_come_from_a_request() -> None:
    check_options("agmc", {"transfer_from": "encoder.safetensors"})
    check_options("agmc", {"transfer_from": None}, allows_paths=False)
    with pytest.raises(InvalidInput, match="which no request may give"):
        check_options("agmc", {"transfer_from": "encoder.safetensors"}, allows_paths=False)


@pytest.mark.slow
@pytest.mark.parametrize("build", [corrected, faithful])
def test_it_finds_which_of_three_groups_can_be_cut(build: Create) -> None:
    problem = problem_of(plain_graph((16, 32, 16)), evaluations=80, seed=1)
    evaluator = FormulaEvaluator(problem.space)
    evaluator.sensitivity = np.array([0.45, 0.02, 0.45])
    rates = {"actor_learning_rate": 1e-3, "hidden": (64, 64), "noise_sigma": 0.3}
    searcher = build(problem, **rates)

    scores = []
    for _ in range(80):
        suggestion = searcher.ask()
        measurement = evaluator.evaluate(suggestion.policy)
        scores.append(measurement.score)
        searcher.tell(suggestion.complete(measurement))

    assert np.mean(scores[-15:]) > np.mean(scores[:20]) + 0.03


class TestAgmcOnJointSpaces(JointSearcherContract):
    @pytest.fixture(params=["default", "faithful"])
    def create(self, request: pytest.FixtureRequest) -> Create:
        build, options = SETTINGS[request.param]
        return lambda problem: build(problem, **options)


def test_joint_replay_holds_the_state_of_every_decision() -> None:
    problem = problem_of(metric="size_bytes", ratio=0.15, evaluations=16, **BITS)
    searcher = corrected(problem)
    advance(searcher, problem, 2)

    stored = searcher.snapshot().arrays["replay.observations"]

    decisions = len(problem.space.decisions)
    of_one = stored[-16:, 0, -3 * decisions :].reshape(16, 3, decisions)  # not the classifier
    decided = of_one[:, 2].sum(axis=0)
    assert decided.tolist() == [float(len(d.allowed) > 1) for d in problem.space.decisions]
    # An encoder's state of a node: shares of widths as input and output, and two kinds of bits.
    assert encoder_weights(searcher)[f"{ENCODER}states.weight"].shape == (8, 4 * 3)


def test_one_shot_action_holds_every_open_decision() -> None:
    problem = problem_of(metric="size_bytes", ratio=0.15, evaluations=16, **BITS)
    searcher = faithful(problem)
    suggestion = searcher.ask()

    searcher.tell(complete(problem, suggestion))

    space = problem.space
    free = [len(decision.allowed) > 1 for decision in space.decisions]
    shares = space.shares(space.setting(suggestion.policy))[free]
    stored = searcher.snapshot().arrays["replay.actions"][0, 0]
    assert stored == pytest.approx(2 * shares - 1, abs=1e-6)


def test_published_limit_is_refused_where_more_than_widths_is_open() -> None:
    problem = problem_of(metric="size_bytes", ratio=0.15, **BITS)
    with pytest.raises(InvalidInput, match="limit 'published'"):
        create_searcher("agmc", problem, {"limit": "published"})
    create_searcher("agmc", problem, {"mode": "faithful"})


def test_encoder_of_other_kinds_of_decisions_is_refused(
    encoder_file: tuple[Path, dict[str, np.ndarray]],
) -> None:
    problem = problem_of(metric="size_bytes", ratio=0.15, **BITS)
    with pytest.raises(InvalidInput, match=r"states\.weight .*open densities and bits as then"):
        corrected(problem, transfer_from=str(encoder_file[0]))
