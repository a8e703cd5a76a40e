"""Tests of the values in ports."""
