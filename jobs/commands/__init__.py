"""What each command prints; the arguments are in ``jobs.cli``, the work is in the modules below it."""
