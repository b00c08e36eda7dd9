"""What is computed: models, usages, metrics, statistics and reports. Never imports Ray."""
