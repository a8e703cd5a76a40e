"""The Open Inference Protocol's gRPC service."""
