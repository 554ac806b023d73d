"""Custom graders: a function of the user's, run on threads instead of a rubric and a judge."""
