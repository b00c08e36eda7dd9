"""What each command prints; the arguments are in ``jobs.cli`` and beside it, the work is in the modules below it."""
