"""The echo gate's statistics: does the new version behave differently from the old one, and by how much?"""
