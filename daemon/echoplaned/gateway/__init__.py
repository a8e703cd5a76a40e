"""Envoy as a supervised process that outlives the daemon; the rest comes over xDS."""
