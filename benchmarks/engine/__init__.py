"""Benchmarks of the embedded engine alone."""
