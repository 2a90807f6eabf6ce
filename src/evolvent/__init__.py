"""Evolvent: close the loop around a model and prove each turn of it.

Start with `loop.py`. Importing this package does nothing and costs nothing: rooms are imported by name.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
