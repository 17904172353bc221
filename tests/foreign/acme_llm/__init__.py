"""Acme's gateway for batches."""
