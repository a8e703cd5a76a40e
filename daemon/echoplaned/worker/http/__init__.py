"""Serves OpenAI's, Anthropic's and OIP's REST APIs on a unix socket."""
