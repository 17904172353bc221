"""Deferrable waiting."""
