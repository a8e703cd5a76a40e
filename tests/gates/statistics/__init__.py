"""Tests of the gates' shared statistics."""
