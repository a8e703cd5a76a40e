"""Evidence to verdicts: the error e-process, non-inferiority, arrivals and paired probes. Pure but for ``runner``."""
