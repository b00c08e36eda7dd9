"""Medical imaging datasets as WebDataset shards: conversion, description, safe reading.

Nothing here imports torch or Ray: a dataset can be converted, verified and read on any laptop.
"""
