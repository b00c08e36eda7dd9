"""What the tables of a store hold, byte for byte."""

TABLES = ("embeddings", "predictions", "segmentations", "measures", "metrics", "gaps", "adapters")


def table_bytes(store):
    """Return every file of the tables with its bytes."""
    files = [file for table in TABLES for file in (store / table).rglob("*") if file.is_file()]
    return {str(file.relative_to(store)): file.read_bytes() for file in files}
