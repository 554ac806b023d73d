"""The verifier of code: runs a candidate's program against tests."""
