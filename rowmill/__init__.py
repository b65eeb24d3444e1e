"""Client library and command line of Rowmill: HTTP only, needs none of the server's packages.

`from rowmill.client import Client` is the way in; the command `rowmill` is in `rowmill.cli`.
"""
