"""Tests of the API over a real channel."""
