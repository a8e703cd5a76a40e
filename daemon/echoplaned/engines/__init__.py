"""Engines as processes: launch, probe, watch, drain, stop and adopt.

Nothing here imports an engine's own libraries.
"""
