"""What several gates compute: e-processes, confidence limits, tests of silence and of paired probes. Pure."""
