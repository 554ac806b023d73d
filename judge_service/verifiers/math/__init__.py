"""The verifier of mathematics, and the worker processes that it asks."""
