"""Generated images with known truth: equipment for tests and demonstrations, not patients.

Every sample is a pure function of (seed, subject number, view): drawn alone, in any order and in any process
it has the same pixels. The numbers come from counter-based generators (Philox) whose key is the seed and
whose counter starts at the subject. Trade-off: the pixels are those of one release of numpy and Pillow;
another may round differently, which the fingerprint of a converted dataset shows.
"""
