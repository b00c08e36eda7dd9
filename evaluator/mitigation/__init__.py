"""Ways of training that try to be fair. One module per method or family; their options, in :mod:`.options`, need no torch."""
