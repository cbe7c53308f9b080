"""Everything that proposes policies, and the one catalogue of it."""
