"""The gate ``clients``: does the new version serve every single client as well as the old one?"""
