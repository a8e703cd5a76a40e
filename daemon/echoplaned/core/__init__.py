"""The pure core: ``step(state, event) -> (state, effects)``.

No I/O, no clock, no protobuf, no logging, no randomness.
"""
