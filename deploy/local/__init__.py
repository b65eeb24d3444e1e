"""The stack on one machine without Docker: Redis, API, workers and Flower under supervisord."""
