"""The gate ``errors``: compares the versions' error rates.

Do more requests fail at the new version than at the old one?
"""
