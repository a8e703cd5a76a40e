"""Requests of the Open Inference Protocol as every leader takes them: checked, counted, answered in the form in which they came."""
