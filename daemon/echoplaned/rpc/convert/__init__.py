"""Conversions between the core's values and the API's messages, one file a noun.

Every conversion is total.
"""
