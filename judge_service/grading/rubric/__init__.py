"""Rubrics: reads, checks and describes rubric files, and divides a rubric into judge calls (panels)."""
