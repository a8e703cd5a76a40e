"""Gates turn what is measured of two versions into rollout verdicts.

A folder has one gate, and all are behind one Protocol (``gate.Gate``).

``standard`` lists the gates and the collectors that gather what they judge; ``evaluation`` walks the list, purely; ``runner`` runs
that for every rollout. ``statistics`` has what several gates compute.
"""
