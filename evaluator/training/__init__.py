"""Training small networks on features: rows, heads, and the loop. No model, no images."""
