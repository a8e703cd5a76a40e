"""Requests of the Open Inference Protocol as every leader takes them.

They are checked, counted, and answered in the form in which they came.
"""
