"""The inference side. The only package that imports numpy, pandas and scikit-learn."""
