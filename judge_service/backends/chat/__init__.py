"""Judges with the chat completions API: OpenAI-compatible servers and SageMaker endpoints."""
