"""Tests of `echoplaned up`: its defaults, what it finds, and what it prints."""
