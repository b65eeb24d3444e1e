"""A straight line: the smallest model there can be."""
