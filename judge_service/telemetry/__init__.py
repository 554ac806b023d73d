"""Things that happen, and who is told. An event is an immutable record; a sink is a callable."""
