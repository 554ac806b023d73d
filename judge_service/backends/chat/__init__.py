"""Judges that speak the chat completions form: OpenAI-compatible servers and SageMaker endpoints."""
