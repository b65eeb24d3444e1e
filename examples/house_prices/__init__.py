"""Prices of 546 houses: numbers and categories through a preprocessing pipeline."""
