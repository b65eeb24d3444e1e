"""The same model has the same fingerprint, wherever its bytes lie."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from worker.fingerprint import fingerprint


@pytest.fixture
def tree() -> DecisionTreeRegressor:
    X = np.random.default_rng(0).normal(size=(200, 3))
    return DecisionTreeRegressor(random_state=0).fit(X, X[:, 0])


def with_other_gaps(tree: DecisionTreeRegressor) -> DecisionTreeRegressor:
    """The same tree, with something else between the fields of its nodes."""
    state = tree.__getstate__()
    inner = state["tree_"].__getstate__()
    nodes = inner["nodes"].copy()
    used = np.zeros(nodes.dtype.itemsize, dtype=bool)
    for dtype, offset in nodes.dtype.fields.values():
        used[offset : offset + dtype.itemsize] = True
    assert not used.all()
    nodes.view("u1").reshape(len(nodes), -1)[:, ~used] ^= 0xFF
    kind, arguments, _ = state["tree_"].__reduce__()
    copy = kind(*arguments)
    copy.__setstate__({**inner, "nodes": nodes})
    other = DecisionTreeRegressor()
    other.__setstate__({**state, "tree_": copy})
    return other


def test_what_lies_between_the_fields_of_a_record_is_no_part_of_a_model(
    tree: DecisionTreeRegressor,
) -> None:
    other = with_other_gaps(tree)

    raw = [t.tree_.__getstate__()["nodes"].tobytes() for t in (tree, other)]
    assert raw[0] != raw[1]
    assert fingerprint(tree) == fingerprint(other)


def test_another_tree_has_another_fingerprint(tree: DecisionTreeRegressor) -> None:
    X = np.random.default_rng(1).normal(size=(200, 3))
    other = DecisionTreeRegressor(random_state=0).fit(X, X[:, 0])

    assert fingerprint(tree) != fingerprint(other)
    assert fingerprint(RandomForestRegressor()) != fingerprint(DecisionTreeRegressor())
