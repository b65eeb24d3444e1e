"""The command `rowmill`."""

import sys


def main() -> None:
    """Runs the command line and ends the process.

    Exit codes: 0 good; 1 the request or the job failed; 2 wrong usage; 3 the job ended but some
    rows failed; 4 no server was reached; 130 stopped with Ctrl-C.
    """
    # Imported here, because the client is at home where click and rich are not installed.
    try:
        from rowmill.commands import root
    except ModuleNotFoundError as error:
        sys.exit(f"Error: no module '{error.name}'; run: pip install 'rowmill[client]'")
    root(prog_name="rowmill")
