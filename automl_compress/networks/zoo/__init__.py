"""The networks that the field measures on; `networks.architectures` finds them by name."""
