"""Admission to a target: quota, slots, circuit breaker and the fair queue in front of them."""
