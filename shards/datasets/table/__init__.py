"""``table``: anyone's images, described by a table with one row per image.

:mod:`.adapter` holds the options and makes manifest rows of the table's; :mod:`.meaning` says what its columns mean,
:mod:`.samples` which rows and files make one sample, :mod:`.pixels` reads images of every kind, :mod:`.regions` and
:mod:`.coco` their masks.
"""

from shards.datasets.table.adapter import Table

__all__ = ["Table"]
