"""A run: from the plan of its shards to its results, in one run directory."""
