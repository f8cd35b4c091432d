"""Options of commands: what each takes, light to import, without what runs it."""
