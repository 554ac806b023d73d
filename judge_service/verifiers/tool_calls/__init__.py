"""The verifier of tool calls: reads calls and matches them with the expected ones."""
