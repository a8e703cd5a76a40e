"""Tests of the real daemon with real engines and real clients."""
