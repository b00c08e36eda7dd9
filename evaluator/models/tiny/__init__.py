"""Two real small models, trained by this project on its own phantom data and shipped with it.

``tiny-clip`` is an ``open_clip`` CLIP and ``tiny-sam`` a ``segment_anything`` Sam, so every path that serves
the large ones serves them, with no network and no GPU. They are test equipment: their numbers say nothing
about medicine.
"""
