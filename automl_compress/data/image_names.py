"""Which files are taken for images; a client looks here too, so nothing heavy is imported."""

from pathlib import Path

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm"))


def is_image_name(name: str) -> bool:
    """Tell whether a file of this name is taken for an image."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
