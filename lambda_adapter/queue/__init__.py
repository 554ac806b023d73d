"""AWS resources of the rollout queue: the table of rollouts and the queue of replies."""
