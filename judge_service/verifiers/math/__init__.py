"""The verifier of mathematics and its worker processes."""
