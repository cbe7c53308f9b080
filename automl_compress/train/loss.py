"""What training minimises."""

import torch.nn.functional as F
from torch import Tensor

from automl_compress.train.config import Distillation


def distillation_loss(student: Tensor, teacher: Tensor, distillation: Distillation) -> Tensor:
    """Measure how far a student's answers are from its teacher's.

    Args:
        student: logits (B, num_classes).
        teacher: logits (B, num_classes).
        distillation: temperature and direction; its weight is not applied.

    Returns:
        The mean divergence of an image, in nats, times the squared temperature: its gradients
        then keep their size at every temperature.

    Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", section 2. They
    minimise the cross-entropy to the teacher, which has the gradients of the forward direction.
    """
    student_log = F.log_softmax(student / distillation.temperature, 1)
    teacher_log = F.log_softmax(teacher / distillation.temperature, 1)
    if distillation.direction == "forward":
        divergence = F.kl_div(student_log, teacher_log, reduction="batchmean", log_target=True)
    else:
        divergence = F.kl_div(teacher_log, student_log, reduction="batchmean", log_target=True)
    return distillation.temperature**2 * divergence


def training_loss(
    logits: Tensor,
    labels: Tensor,
    label_smoothing: float,
    teacher_logits: Tensor | None = None,
    distillation: Distillation | None = None,
) -> Tensor:
    """Weigh cross-entropy to the labels against divergence from the teacher, if there is one.

    Args:
        logits: (B, num_classes).
        labels: int64 (B,).
        label_smoothing: in [0, 1), of the labels' part.
        teacher_logits: (B, num_classes).
        distillation: comes with `teacher_logits`.
    """
    from_labels = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    if teacher_logits is None or distillation is None:
        return from_labels
    from_teacher = distillation_loss(logits, teacher_logits, distillation)
    return (1 - distillation.weight) * from_labels + distillation.weight * from_teacher
