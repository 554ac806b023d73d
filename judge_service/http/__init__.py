"""The HTTP client: one request on a pooled connection, its deadline kept, its failures named once."""
