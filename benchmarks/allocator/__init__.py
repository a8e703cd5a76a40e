"""Benchmarks of the allocator beside its peers."""
