"""The gate ``arrivals``: does any request reach the new version at all?"""
