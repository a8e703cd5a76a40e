"""Runners and results; never imported by the product."""
