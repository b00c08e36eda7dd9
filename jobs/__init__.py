"""Where and when it is computed: studies, plans, the store, schedulers and the command line."""
