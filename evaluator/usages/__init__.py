"""Ways of using a model: each module is one usage, and knows nothing of where or when it runs."""
