"""What a browser shows: what is on each page, and what all pages have in common."""
