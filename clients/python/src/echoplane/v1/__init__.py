"""Messages and services of the API, version 1."""
