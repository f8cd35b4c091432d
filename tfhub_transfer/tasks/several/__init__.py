"""Several tasks that learn on one encoder together."""
