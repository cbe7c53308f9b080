from datetime import datetime
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from automl_agents.optuna_search.journal import JournalTrial, write_journal
from automl_compress.core import Suggestion
from tests.fakes import FormulaEvaluator, plain_graph, space_of


def test_what_becomes_of_layers_is_a_parameter_where_it_changes(tmp_path: Path) -> None:
    space = space_of(
        plain_graph((8,)),
        schemes=("channel", "element"),
        weight_bits=(4, 32),
        activation_bits=(8, 32),
        edge_bits=None,
    )
    names = [decision.name for decision in space.decisions]
    setting = list(space.largest)
    setting[names.index("density.convolution0")] = 40
    setting[names.index("weight_bits.classifier")] = 4
    policy = space.policy(setting)
    trial = Suggestion(0, policy).complete(FormulaEvaluator(space).evaluate(policy))
    moment, path = datetime(2026, 1, 1), tmp_path / "study.log"

    count = write_journal(path, "search", {}, [JournalTrial(trial, moment, moment)])

    storage = JournalStorage(JournalFileBackend(str(path)))
    (loaded,) = optuna.load_study(study_name="search", storage=storage).trials
    assert count == 1
    assert loaded.params == {
        "convolution0": 0.0,
        "sparsity.convolution0": 0.6,
        "weight_bits.classifier": 4,
    }
    assert type(loaded.params["weight_bits.classifier"]) is int
