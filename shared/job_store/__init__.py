"""The only package that talks to Redis: keys, scripts, and the store built on them."""
