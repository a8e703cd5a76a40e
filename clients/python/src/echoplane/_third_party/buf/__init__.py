"""Field rules by protovalidate."""
