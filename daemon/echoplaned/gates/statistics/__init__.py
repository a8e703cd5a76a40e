"""The statistics that several gates compute.

They are e-processes, confidence limits, tests of silence and of paired probes. Pure.
"""
