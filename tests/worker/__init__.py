"""Tests of the embedded engine's process."""
