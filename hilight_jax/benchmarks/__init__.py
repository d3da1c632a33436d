"""Measures: speed and memory of training, chat, serving, data and conversion."""
