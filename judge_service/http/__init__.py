"""The HTTP client: sends requests over pooled connections, keeps deadlines and names failures."""
