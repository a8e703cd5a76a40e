"""The gate ``echo``: compares the behaviour of both versions.

Its statistics say whether the new version behaves differently from the old one, and by how much.
"""
