"""Sandboxes: where code of candidates runs."""
