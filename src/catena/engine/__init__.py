"""Runs a chain over items."""
