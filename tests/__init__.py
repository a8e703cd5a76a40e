"""Tests of the daemon, the client and the API; the folders mirror `daemon/echoplaned`."""
