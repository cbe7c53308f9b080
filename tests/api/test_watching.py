import io

from rich.console import Console

from automl_api.commands.watching import Display
from automl_api.transport import Event


def trial(number: int, **data: object) -> Event:
    told = {"evaluations": number, "trials_done": number, "best_score": 0.9, "best_number": 3}
    return Event(number, "trial.completed", {**told, **data})


def test_the_time_left_is_the_one_that_the_service_says() -> None:
    """Events of a job that has run for long come all at once to who begins to watch it."""
    output = io.StringIO()

    with Display(Console(file=output, width=100), "half", 100) as display:
        display.show(Event(1, "job.status", {"state": "running"}))
        for number in range(1, 31):
            display.show(trial(number, eta_seconds=None if number < 20 else 420.0 - number))

    assert output.getvalue().splitlines() == [
        "half: searching",
        "half: trial 10, best 0.9000 in trial 3",
        "half: trial 20, best 0.9000 in trial 3, 400 s left",
        "half: trial 30, best 0.9000 in trial 3, 390 s left",
    ]


def test_training_of_a_pruning_net_has_a_line_for_each_epoch() -> None:
    output = io.StringIO()
    told = {"epochs": 2, "batch": 4, "batches": 8, "loss": 0.5, "train_accuracy": 0.8}

    with Display(Console(file=output, width=100), "half", 100) as display:
        for number, (epoch, share) in enumerate([(1, 0.25), (1, 0.5), (2, 0.75)]):
            data = {**told, "epoch": epoch, "share": share, "eta_seconds": 40.0 * (1 - share)}
            display.show(Event(number, "pruning_net.progress", data))

    assert output.getvalue().splitlines() == [
        "half: training the PruningNet, epoch 1 of 2, 30 s left",
        "half: training the PruningNet, epoch 2 of 2, 10 s left",
    ]
