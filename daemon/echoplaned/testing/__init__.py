"""Public fakes and builders for tests of Echoplane and of what is built on it."""
