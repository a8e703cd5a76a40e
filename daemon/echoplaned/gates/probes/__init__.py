"""The gate ``probes``: compares both versions' answers to the same probes."""
