"""Tests of what launches, adopts, watches and stops engine processes."""
