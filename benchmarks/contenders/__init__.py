"""Those who are compared, each as its users would run it."""
