"""How Rowmill is run: the local stack, and what the containers share with it."""
