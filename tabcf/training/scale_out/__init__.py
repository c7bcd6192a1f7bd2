"""Training by several processes; what a single process does knows nothing of it."""
