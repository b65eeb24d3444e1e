"""Films to watch next: a recommender of our own with scikit-learn's interface."""
