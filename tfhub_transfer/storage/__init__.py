"""Everything that writes: whole or not at all, within a budget, safe between processes."""
