"""The processes of the service: sockets, workers, limits of the HTTP protocol, start and stop."""
