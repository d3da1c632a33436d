"""Stages of training: configuration, objective, input and evaluation of each, and the table that registers them."""
