"""Admission of requests: who may enter, how many samples at once, and for how long."""
