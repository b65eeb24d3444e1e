"""The command `rowmill`."""

import os
import sys

INTERRUPTED = 130
"""What a shell says of a command that Ctrl-C has stopped."""


def main() -> None:
    """Runs the command line and ends the process.

    Exit codes: 0 good; 1 the request or the job failed; 2 wrong usage; 3 the job ended but some
    rows failed; 4 no server was reached; 130 stopped with Ctrl-C.
    """
    _open_closed_streams()
    # Imported here, because the client is at home where click and rich are not installed.
    try:
        from rowmill.commands import root
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except ModuleNotFoundError as error:
        sys.exit(f"Error: no module '{error.name}'; run: pip install 'rowmill[client]'")
    root(prog_name="rowmill")


def _open_closed_streams() -> None:
    """Lead standard streams that are closed, as `2>&-` does, nowhere. Their numbers would be given
    to files and connections."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 – until the end
