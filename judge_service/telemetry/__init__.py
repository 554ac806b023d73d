"""Events and sinks. An event is an immutable record; a sink is a callable that takes events."""
