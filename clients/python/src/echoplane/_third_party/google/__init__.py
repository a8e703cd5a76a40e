"""Stubs of Google's common services."""
