"""Who calls: keys and the development PKI."""
