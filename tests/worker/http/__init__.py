"""Tests of ``echoplaned.worker.http``."""
