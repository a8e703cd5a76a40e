"""Gates: what is measured of two versions becomes verdicts on a rollout. A folder a gate, behind one Protocol (``gate.Gate``).

``standard`` lists the gates and the collectors that gather what they judge; ``evaluation`` walks the list, purely; ``runner`` runs
that for every rollout. ``statistics`` has what several gates compute.
"""
