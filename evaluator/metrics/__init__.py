"""Point metrics as pure functions of arrays, and the conventions they are known by."""
