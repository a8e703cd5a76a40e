"""Tests of the supervisor of foreign engines."""
