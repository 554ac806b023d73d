"""Sandboxes that run candidates' code."""
