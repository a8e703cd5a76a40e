"""Echoplane's daemon: a gRPC control plane for serving models."""
