"""What the daemon reports of itself: logs, metrics, and the port for them.

Logs are structured and go to stderr; the port serves metrics alone.
"""
