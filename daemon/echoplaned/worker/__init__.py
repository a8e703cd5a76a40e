"""The embedded torch engine's own process: one OIP gRPC server around one model."""
