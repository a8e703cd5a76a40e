"""What the gates promise, found by simulating whole rollouts."""
