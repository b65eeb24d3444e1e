"""For schemathesis: tables that a contract can't describe, good rows and bad ones."""

import schemathesis
from hypothesis import strategies as st

_CELLS = st.one_of(
    st.floats(-1e6, 1e6).map(repr),
    st.sampled_from(["", "six", "1e400", "true", '"', "\0", "5,5"]),
)

TABLES = st.lists(_CELLS, max_size=5).map(
    lambda cells: ("x\n" + "".join(f"{cell}\n" for cell in cells)).encode()
)

schemathesis.openapi.media_type("text/csv", TABLES)
