"""The verifier of instructions about form, as in IFEval."""
