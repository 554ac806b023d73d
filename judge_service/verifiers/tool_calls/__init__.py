"""The verifier of tool calls: reads them and matches them with those expected."""
