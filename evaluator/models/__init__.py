"""Models: interfaces, registry, weights and preprocessing, one module per family."""
