"""Stubs of google.longrunning.Operations."""
