"""The process that serves: sockets, workers, the HTTP protocol's bounds, start and stop."""
