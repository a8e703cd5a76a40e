"""Tests of the reservoir as a library."""
