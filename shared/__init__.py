"""What the API and the workers agree on: words, records, keys. No Flask, no numpy."""
