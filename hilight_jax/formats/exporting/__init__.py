"""Trained runs become directories that others load."""
