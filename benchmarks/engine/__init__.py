"""Benchmarks of engines: the embedded one alone, and foreign ones beneath their supervisor."""
