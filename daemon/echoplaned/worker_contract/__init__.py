"""What the daemon and the leaders of engines share.

The record, the control service and the report. Imports the core only.

A leader is the process of ours that leads one engine's session. The daemon launches, adopts, probes, drains and stops leaders and
knows nothing else of an engine. Contract 1 is what workers spoke before records named a kind; contract 2 adds the kind, the mark in
the environment, several endpoints, and flags that say what a report counts. Messages change additively only. A leader whose record
has a control key takes orders from whoever sends it; daemons of releases before that cannot lead it.
"""
