"""Side-by-side measurements of a running service that anyone can run."""
