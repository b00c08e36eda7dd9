"""Readers of the file formats of volumes and arrays; their libraries are those of the extra ``formats``."""
