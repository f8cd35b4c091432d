"""Several processes that do one job: how they start, which one this is, how they end."""
