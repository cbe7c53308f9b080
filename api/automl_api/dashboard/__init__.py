"""The pages that people look at: rendered here, kept alive by small scripts of our own."""

from pathlib import Path

STATIC_FOLDER = Path(__file__).parent / "static"
