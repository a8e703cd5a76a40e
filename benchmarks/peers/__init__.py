"""Processes that stand beside the daemon in a benchmark: what it is compared with, and who calls it."""
