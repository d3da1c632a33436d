"""Losses: arrays in, sums and counts out. Contrastive over the batch, local between words and patches."""
