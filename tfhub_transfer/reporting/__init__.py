"""Numbers, pictures and pages of a report, whatever the task."""
