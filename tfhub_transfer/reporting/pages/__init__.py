"""Reports as single pages of HTML: everything in one file, nothing fetched, all of it escaped."""
