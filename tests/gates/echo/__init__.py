"""Tests of the echo gate's statistics."""
