"""A table while it arrives: unpacked, read by its format, cut into chunks of lines."""
