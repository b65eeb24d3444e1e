"""The HTTP side: moves bytes, never parses every row. The only package that imports Flask."""
