"""The gate ``errors``: do more requests fail at the new version than at the old one?"""
