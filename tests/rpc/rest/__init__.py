"""Tests of the REST routes."""
