"""Admission of requests: limits the queue by samples, bytes, time and the caller's share."""
