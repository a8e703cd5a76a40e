"""The leader of a foreign engine: a small process that starts it, reads it, speaks to it, and ends all of it.

It outlives the daemon as the embedded worker does, and speaks the same contract. What differs between engines is declared in
``echoplaned.engine_kinds``.
"""
