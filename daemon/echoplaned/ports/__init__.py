"""The Protocols between the loop and the outside, and the values that pass through them; no code runs here."""
