"""Trained models in the forms that others load."""
