"""Fuzzing of what comes from outside: bytes and messages made of valid ones, in-process and against the real daemon and worker."""
