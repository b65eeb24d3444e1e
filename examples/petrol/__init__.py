"""Petrol consumption of 48 US states: a random forest on four numbers."""
