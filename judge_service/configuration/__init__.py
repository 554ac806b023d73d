"""Where the settings come from, and how they change while the judge is at work."""
