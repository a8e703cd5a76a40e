"""The gate ``arrivals``: checks that requests reach the new version at all."""
