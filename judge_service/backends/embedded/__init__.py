"""The embedded judge: a small model in this process, no network."""
