"""Who calls: keys of the gateway's callers, and a development PKI."""
