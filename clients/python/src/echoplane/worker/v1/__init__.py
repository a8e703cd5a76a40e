"""What the daemon asks of an embedded engine process, version 1."""
