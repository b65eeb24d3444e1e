"""What an ensemble takes and gives, by the manifests of its members."""

from collections.abc import Iterator, Sequence
from itertools import chain

from shared.errors import PublishError, quoted
from shared.manifest import Combination, Manifest
from shared.signature import Dtype, Feature, OutputColumn, OutputKind, Signature
from shared.statistics import TrainingStatistics
from worker.cells import NUMERIC
from worker.ensemble_model import CLASS_PREFIX, stack_columns
from worker.signature_learning import MAX_CATEGORIES

Outputs = dict[OutputKind, tuple[OutputColumn, ...]]

FINAL_OUTPUTS = (OutputKind.PREDICT, OutputKind.PREDICT_PROBA, OutputKind.DECISION_FUNCTION)
"""What a stack passes on of its final model. Contributions would be those of the members'
predictions, not of the features."""


def merged_signature(
    members: Sequence[Manifest], combination: Combination, *, final: Manifest | None
) -> Signature:
    """The signature of an ensemble. Raises PublishError if the members don't go together.

    A row that it lets through fits the signature of every member.
    """
    names = dict.fromkeys(chain.from_iterable(m.signature.feature_names for m in members))
    features = tuple(_feature(name, list(_takers(name, members))) for name in names)
    return Signature(features=features, outputs=_outputs(members, combination, final=final))


def merged_statistics(
    members: Sequence[Manifest], signature: Signature
) -> TrainingStatistics | None:
    """For each feature those of the first member that takes it; None if a member has none."""
    known = [(m.signature, m.statistics) for m in members if m.statistics is not None]
    if len(known) < len(members):
        return None
    found = {
        name: feature
        for own, statistics in reversed(known)
        for name, feature in zip(own.feature_names, statistics.features, strict=True)
    }
    return TrainingStatistics(
        rows=min(statistics.rows for _, statistics in known),
        features=tuple(found[name] for name in signature.feature_names),
    )


# --- features


def _takers(name: str, members: Sequence[Manifest]) -> Iterator[tuple[Manifest, Feature]]:
    """The members that have a feature of this name, and what it is to them."""
    for member in members:
        yield from ((member, f) for f in member.signature.features if f.name == name)


def _feature(name: str, takers: Sequence[tuple[Manifest, Feature]]) -> Feature:
    """A feature as all who take it can take it."""
    (first, feature), *others = takers
    for other, own in others:
        if own.dtype is not feature.dtype:
            raise PublishError(
                f"Column {quoted(name)} is {feature.dtype} to '{first.version_id}' and {own.dtype} "
                f"to '{other.version_id}'; publish one of them again with a sample of that type."
            )
    features = [own for _, own in takers]
    categories = _categories(features)
    return Feature(
        name=name,
        dtype=feature.dtype,
        nullable=all(own.nullable for own in features),
        minimum=min((f.minimum for f in features if f.minimum is not None), default=None),
        maximum=max((f.maximum for f in features if f.maximum is not None), default=None),
        categories=categories,
        accepts_unseen=all(own.accepts_unseen for own in features),
        example=_example(features, categories),
    )


def _categories(features: Sequence[Feature]) -> tuple[str, ...] | None:
    """The texts that all who refuse others know; where none refuses any, all that are known."""
    strict = [f for f in features if not f.accepts_unseen]
    known = [f.categories for f in strict or features if f.categories is not None]
    if strict and known:
        common = set(known[0]).intersection(*known[1:])
        if not common:
            raise PublishError(
                f"Column {quoted(features[0].name)} has no value that all members take."
            )
        return tuple(sorted(common))
    union = set().union(*known)
    is_complete = not strict and len(known) == len(features)
    return tuple(sorted(union)) if is_complete and len(union) <= MAX_CATEGORIES else None


def _example(
    features: Sequence[Feature], categories: tuple[str, ...] | None
) -> float | int | bool | str | None:
    """The first example, of those who refuse some values before those who take all."""
    strict_first = sorted(features, key=lambda f: f.accepts_unseen)
    for example in (f.example for f in strict_first):
        if example is not None and (categories is None or example in categories):
            return example
    return categories[0] if categories else None


# --- outputs


def _outputs(
    members: Sequence[Manifest], combination: Combination, *, final: Manifest | None
) -> Outputs:
    predictions = [_prediction(member) for member in members]
    if final is not None:
        return _stack_outputs(members, predictions, final)
    if combination is Combination.VOTE:
        return _vote_outputs(members, predictions)
    return _average_outputs(members, predictions, combination)


def _prediction(member: Manifest) -> Dtype:
    """The type of the one column that a member predicts."""
    columns = member.signature.outputs.get(OutputKind.PREDICT, ())
    if len(columns) != 1:
        raise PublishError(
            f"'{member.version_id}' predicts {len(columns)} columns; a member predicts one."
        )
    return columns[0].dtype


def _average_outputs(
    members: Sequence[Manifest], predictions: Sequence[Dtype], combination: Combination
) -> Outputs:
    """`predict` where all predict quantities, and `predict_proba` where all know the same classes.

    Numbers that name classes are no quantities: there is no class between two others.
    """
    outputs: Outputs = {}
    classes = [_class_columns(member) for member in members]
    if NUMERIC.issuperset(predictions) and not any(classes):
        outputs[OutputKind.PREDICT] = (OutputColumn(name="prediction", dtype=Dtype.FLOAT),)
    if classes[0] and all(set(own) == set(classes[0]) for own in classes):
        outputs[OutputKind.PREDICT_PROBA] = _floats(classes[0])
    if not outputs:
        raise PublishError(
            f"A {combination} takes numbers, or probabilities of the same classes, of which these "
            "members give neither; for classes there is 'vote'."
        )
    return outputs


def _vote_outputs(members: Sequence[Manifest], predictions: Sequence[Dtype]) -> Outputs:
    """`predict`, and `predict_proba` where the classes of all members are known."""
    classes = [_class_columns(member) for member in members]
    for member, dtype, own in zip(members, predictions, classes, strict=True):
        if dtype is not predictions[0]:
            raise PublishError(
                f"'{members[0].version_id}' predicts {predictions[0]} and '{member.version_id}' "
                f"{dtype}; a vote takes predictions of one type."
            )
        if dtype is Dtype.FLOAT and not own:
            raise PublishError(
                f"'{member.version_id}' predicts numbers, which hardly ever agree; a vote takes "
                "classes, for numbers there are 'mean' and 'median'."
            )
    prediction = OutputColumn(name="prediction", dtype=predictions[0])
    outputs: Outputs = {OutputKind.PREDICT: (prediction,)}
    if all(classes):
        known = dict.fromkeys(chain.from_iterable(classes))
        outputs[OutputKind.PREDICT_PROBA] = _floats(tuple(known))
    return outputs


def _stack_outputs(
    members: Sequence[Manifest], predictions: Sequence[Dtype], final: Manifest
) -> Outputs:
    """What the final model gives, if it takes what the members predict."""
    names = stack_columns(members)
    wanted = {feature.name: feature.dtype for feature in final.signature.features}
    if sorted(names) != sorted(wanted):
        raise PublishError(
            f"'{final.version_id}' takes {', '.join(map(quoted, wanted))}; the final model of this "
            f"stack must take {', '.join(map(quoted, names))}."
        )
    for name, dtype in zip(names, predictions, strict=True):
        if dtype is not wanted[name] and (dtype, wanted[name]) != (Dtype.INT, Dtype.FLOAT):
            raise PublishError(
                f"'{final.version_id}' takes {wanted[name]} in {quoted(name)}, where the member "
                f"predicts {dtype}; fit it on the members' predictions."
            )
    offered = final.signature.outputs
    outputs = {kind: offered[kind] for kind in FINAL_OUTPUTS if kind in offered}
    if not outputs:
        raise PublishError(f"'{final.version_id}' predicts nothing; it can't end a stack.")
    return outputs


def _class_columns(member: Manifest) -> tuple[str, ...]:
    """Names of the columns of a member's probabilities; none if it offers no classes."""
    columns = member.signature.outputs.get(OutputKind.PREDICT_PROBA, ())
    names = tuple(column.name for column in columns)
    return names if all(name.startswith(CLASS_PREFIX) for name in names) else ()


def _floats(names: Sequence[str]) -> tuple[OutputColumn, ...]:
    return tuple(OutputColumn(name=name, dtype=Dtype.FLOAT) for name in names)
