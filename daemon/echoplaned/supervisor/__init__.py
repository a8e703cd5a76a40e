"""The leader of a foreign engine.

A small process that starts the engine, reads it, speaks to it, and ends all of it.

It outlives the daemon as the embedded worker does, and speaks the same contract. What differs between engines is declared in
``echoplaned.engine_kinds``.
"""
