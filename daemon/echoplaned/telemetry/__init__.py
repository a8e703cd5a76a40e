"""What the daemon tells about itself: structured logs, metrics, and the port that serves them."""
