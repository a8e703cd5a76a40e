"""The gate ``clients``: judges every single client's service by itself.

The new version has to serve each as well as the old one.
"""
