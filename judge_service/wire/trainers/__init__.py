"""Formats of single trainers: NeMo-Gym, OpenRLHF, slime and the rollout queue."""
