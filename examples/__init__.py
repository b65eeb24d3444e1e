"""Example models: each folder trains one and publishes it to the model repository."""
