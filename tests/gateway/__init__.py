"""The gateway's Envoy as a process."""
