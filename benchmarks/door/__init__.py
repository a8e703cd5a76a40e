"""What the gateway costs and what callers see of its changes: one program each, ``python -m benchmarks.door.NAME [--quick]``."""
