"""Tests of the xDS control plane."""
