"""Monitoring of grading: guards on samples, canaries, and monitors of rewards."""
