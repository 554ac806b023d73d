"""Rubrics: what is asked of a judge, read from a file, checked, described and divided into panels."""
