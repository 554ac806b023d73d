"""Several samples or several judge calls together: packs, votes, ranking and groups of rollouts."""
