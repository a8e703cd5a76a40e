"""What the gateway that the daemon runs is served."""
