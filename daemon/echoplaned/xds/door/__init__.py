"""What the daemon's own gateway is served: one listener and one route table."""
