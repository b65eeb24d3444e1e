"""Puts a fitted estimator into the model repository with a signature learned from a sample."""

import math
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import skops.io
from skops.io.exceptions import UnsupportedTypeException

from shared.errors import PublishError, quoted
from shared.manifest import Artifact, ArtifactFormat, Manifest, stamp_of
from shared.model_repository import ModelRepository
from shared.repository_editor import RepositoryEditor
from shared.settings import Settings
from shared.signature import OutputKind, Signature
from worker.contributions import contribution_columns, learn_contributions
from worker.fingerprint import fingerprint
from worker.onnx_model import OnnxModel
from worker.repository_home import own_repository
from worker.signature_learning import learn_signature
from worker.training_statistics import learn_predictions, learn_statistics

LIBRARIES = ("scikit-learn", "numpy", "pandas", "scipy", "skops", "joblib")
ONNX_LIBRARIES = ("onnxruntime", "numpy", "pandas")
"""What a graph is scored with here; what it was trained with stands in no file."""

TRUSTED_PACKAGES = frozenset({"numpy", "scipy", "sklearn"})
"""Packages whose types a publisher vouches for without naming them. skops leaves some out (a
tree's nodes are read without bounds checks, so a forged file could crash its reader), but this
file was written here, and its checksum goes into the manifest."""


def publish(
    estimator: Any,
    *,
    name: str,
    sample: pd.DataFrame,
    repository: Path | None = None,
    description: str = "",
    metrics: Mapping[str, float] | None = None,
    artifact_format: ArtifactFormat = ArtifactFormat.SKOPS,
    trusted_types: Sequence[str] = (),
    output_names: Sequence[str] = (),
) -> Manifest:
    """Write a new version of model `name` and return its manifest. Atomic.

    If the newest version is the same in all but number and date, nothing is written and its
    manifest is returned.

    `sample`: n rows as the model was trained on, best all of them: names, types, bounds and
    categories are learned from it, and it is scored once, so that nothing is published that can't
    predict. Whether a feature takes missing or unseen values is tried on its first row.
    `repository`: without it the one of the settings, `ROWMILL_MODELS_DIR` or `models` in the
    current directory, which must be there: a model put anywhere else would never be served.
    An OnnxModel is written as ONNX, whatever `artifact_format` says.
    `trusted_types` names classes in a skops artifact that are not scikit-learn's own, numpy's or
    scipy's. `output_names` names the columns of a multi-output `predict`. Raises PublishError.
    """
    for metric, value in (metrics or {}).items():
        if not math.isfinite(value):
            raise PublishError(
                f"The metric {quoted(metric)} is {value}; give a number or leave it."
            )
    signature = learn_signature(estimator, sample, output_names=output_names)
    statistics = learn_statistics(sample, signature).model_copy(
        update={"predictions": learn_predictions(estimator, sample, signature)}
    )
    background = learn_contributions(estimator, sample, signature)
    if background is not None:
        # The last: never what is asked for by default.
        outputs = signature.outputs | {OutputKind.CONTRIBUTIONS: contribution_columns(signature)}
        signature = signature.model_copy(update={"outputs": outputs})
        statistics = statistics.model_copy(update={"background": background})
    is_graph = isinstance(estimator, OnnxModel)
    if is_graph:
        _check_classes(estimator, signature)
    identity = estimator.sha256 if is_graph else fingerprint(estimator)
    artifact_format = ArtifactFormat.ONNX if is_graph else artifact_format
    libraries = ONNX_LIBRARIES if is_graph else LIBRARIES

    def describe(version_: str, artifact: Artifact) -> Manifest:
        return Manifest(
            name=name,
            version=version_,
            description=description,
            created_at=datetime.now(UTC),
            artifact=_stamped(artifact, name),
            signature=signature,
            statistics=statistics,
            metrics=dict(metrics or {}),
            libraries={"python": platform.python_version()}
            | {library: version(library) for library in libraries},
            fingerprint=identity,
        )

    editor = RepositoryEditor(ModelRepository(repository or own_repository()))
    return editor.publish(
        name,
        lambda path: _write(estimator, path, artifact_format, trusted=trusted_types),
        artifact_format=artifact_format,
        describe=describe,
    )


def _check_classes(model: OnnxModel, signature: Signature) -> None:
    """Raise PublishError if the graph's classes were named and are more or fewer."""
    columns = signature.outputs.get(OutputKind.PREDICT_PROBA, ())
    named = getattr(model, "classes_", columns)
    if len(named) != len(columns):
        raise PublishError(
            f"{len(named)} classes are named, and the graph gives {len(columns)} probabilities; "
            "name each class once, in order."
        )


def _stamped(artifact: Artifact, name: str) -> Artifact:
    """The artifact with the stamp of who knows the trust key, if this process does."""
    key = Settings().trust_key.get_secret_value()
    if not key:
        return artifact
    return artifact.model_copy(update={"stamp": stamp_of(name, artifact, key=key)})


def _write(
    estimator: Any, path: Path, artifact_format: ArtifactFormat, *, trusted: Sequence[str]
) -> tuple[str, ...]:
    """Write the artifact; returns the types in it that its opener has to trust, by name."""
    if artifact_format is ArtifactFormat.ONNX:
        if not isinstance(estimator, OnnxModel):
            raise PublishError(
                f"{type(estimator).__name__} is no ONNX graph; export it and publish "
                "OnnxModel.read(path)."
            )
        path.write_bytes(estimator.data)
        return ()
    if artifact_format is ArtifactFormat.JOBLIB:
        joblib.dump(estimator, path)
        return ()
    try:
        skops.io.dump(estimator, path)
    except UnsupportedTypeException as error:
        raise PublishError(
            f"skops can't write this model: {error} It can be published as joblib "
            "(--format joblib, artifact_format=ArtifactFormat.JOBLIB), which is a pickle: workers "
            "open it only with the ROWMILL_TRUST_KEY of its publisher or ROWMILL_ALLOW_PICKLE=true."
        ) from error
    held = sorted(skops.io.get_untrusted_types(file=path))
    if of_script := [t for t in held if t.startswith("__main__.")]:
        raise PublishError(
            f"The model holds classes of the script that made it: {', '.join(of_script)}. Move "
            "them into a module that the workers can import, too, and fit it again."
        )
    unknown = [t for t in held if t not in trusted and t.split(".")[0] not in TRUSTED_PACKAGES]
    if unknown:
        raise PublishError(
            f"The model holds types of other packages: {', '.join(unknown)}. "
            "If you trust them, name them in trusted_types (--trust)."
        )
    return tuple(held)
