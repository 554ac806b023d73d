"""Custom graders: a function of the user's, run on threads in place of rubric and judge."""
