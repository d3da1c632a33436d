"""Serves a chat model over HTTP: OpenAI's endpoints and a page."""
