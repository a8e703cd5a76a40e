"""The Protocols between the loop and the outside, and their values.

No code runs here.
"""
