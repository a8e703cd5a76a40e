"""What the daemon's HTTP gateway asks of it."""
