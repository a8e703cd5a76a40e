"""The API's servicers. Thin: a request becomes an event of the core, a frozen snapshot becomes an answer; protobuf stops here."""
