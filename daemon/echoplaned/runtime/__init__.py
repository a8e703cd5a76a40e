"""The loop that owns the state, and what surrounds it."""
