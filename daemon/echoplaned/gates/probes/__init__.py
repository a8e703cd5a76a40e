"""The gate ``probes``: does the new version answer the same probes as the old one?"""
