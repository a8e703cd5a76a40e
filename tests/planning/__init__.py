"""Tests of inspection, sizing and placement."""
