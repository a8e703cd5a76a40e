"""Tests of the gates: evidence to verdict."""
