"""Learning rates as plain functions of the step, so that nothing needs saving for a resume."""

import math

# The shape of a cycle, as torch.optim.lr_scheduler.OneCycleLR has it by default.
_RISING_SHARE = 0.3
_FIRST_DIVISOR = 25.0
_LAST_DIVISOR = 1e4


def learning_rate_at(schedule: str, highest: float, step: int, steps: int) -> float:
    """Give the learning rate of one step.

    Args:
        schedule: `one-cycle`, `cosine` or `linear`.
        highest: the largest rate of the schedule.
        step: 0 to `steps` - 1.
        steps: of the whole training.

    Source: Smith and Topin 2018, "Super-Convergence", section 3, with cosines in place of straight
    lines and without the cycle of momentum; Loshchilov and Hutter 2017, "SGDR", equation 5,
    without restarts; linear decay as in the public code of MetaPruning (Liu et al. 2019).
    """
    if schedule == "linear":
        return highest * (1 - step / steps)
    if schedule == "cosine":
        return _between(highest, 0.0, step / steps)
    first = highest / _FIRST_DIVISOR
    summit = max(_RISING_SHARE * steps - 1, 0.0)
    if step <= summit:
        return _between(first, highest, step / summit if summit else 1.0)
    return _between(highest, first / _LAST_DIVISOR, (step - summit) / (steps - 1 - summit))


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
