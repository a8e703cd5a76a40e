"""Attacks on a real daemon: each must cost the attacker, not its neighbours."""
