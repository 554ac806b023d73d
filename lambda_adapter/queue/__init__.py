"""What the rollout queue needs of AWS: the table of rollouts and the queue of replies."""
