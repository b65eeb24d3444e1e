"""The memory that this process has from the system."""

import ctypes
import gc


def give_back() -> None:
    """Return what is free to the system.

    Opening a model takes up to three times the memory that the model keeps, in blocks between those
    that stay, and the allocator would hold on to it.
    """
    gc.collect()
    # Only the GNU library has it; others keep less.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
