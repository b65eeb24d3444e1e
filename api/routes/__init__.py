"""One blueprint per resource. A route parses, calls one thing, represents; no rule lives here."""
