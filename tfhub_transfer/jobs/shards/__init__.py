"""Many files answered one by one: which, by what, and what is known of each."""
