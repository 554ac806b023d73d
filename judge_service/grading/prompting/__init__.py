"""The text sent to a judge, and its answer parsed."""
