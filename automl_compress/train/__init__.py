"""Training from scratch, fine-tuning of what was cut, distillation, and accuracy."""
