"""Opens an artifact, after everything that must be true of it before has been checked."""

import warnings
from pathlib import Path
from typing import Any, Literal

import joblib
import skops.io
from sklearn.exceptions import InconsistentVersionWarning

from shared.errors import ModelLoadError
from shared.manifest import ArtifactFormat, Ensemble, Manifest
from shared.model_repository import file_sha256
from shared.settings import MismatchPolicy
from worker.onnx_model import OnnxModel
from worker.reasons import first_line

MOST_NAMED = 10
"""Types that a message names: a forged file may hold thousands."""


def load_artifact(
    path: Path,
    manifest: Manifest,
    *,
    allow_pickle: bool,
    trust_key: str = "",
    on_mismatch: MismatchPolicy = MismatchPolicy.REFUSE,
) -> Any:
    """The fitted estimator of a model version, or the `Ensemble` that it is.

    The file must have the checksum of its manifest. A skops file may hold only skops' own types
    and those the manifest trusts; a joblib file is a pickle, which runs code when it is opened,
    so it is opened only if `allow_pickle`, or if it has the stamp of who knows `trust_key`. A model
    of another scikit-learn version is refused or not by `on_mismatch`. Raises ModelLoadError.
    """
    model = manifest.version_id
    try:
        checksum = file_sha256(path)
    except OSError as error:
        raise ModelLoadError(f"The artifact of '{model}' can't be read.") from error
    if checksum != manifest.artifact.sha256:
        raise ModelLoadError(
            f"The artifact of '{model}' does not have the checksum its manifest names; "
            "it was changed after it was published. Publish it again."
        )
    heed_mismatches(on_mismatch)
    try:
        is_trusted = allow_pickle or manifest.is_stamped(trust_key)
        return _open(path, manifest, allow_pickle=is_trusted)
    except ModelLoadError:
        raise
    except Exception as error:  # a foreign file and its classes may raise anything
        raise ModelLoadError(f"'{model}' can't be opened: {first_line(error)}") from error


def heed_mismatches(on_mismatch: MismatchPolicy) -> None:
    """Let this process refuse, or not, models of another scikit-learn version from now on: they may
    score wrongly without an error.

    For good, since the filters of warnings belong to the process: who puts them back when a model
    is open would put back those of another thread that scores meanwhile, or be without them as soon
    as that one does.
    """
    is_refused = on_mismatch is MismatchPolicy.REFUSE
    action: Literal["error", "ignore"] = "error" if is_refused else "ignore"
    warnings.simplefilter(action, InconsistentVersionWarning)


def _open(path: Path, manifest: Manifest, *, allow_pickle: bool) -> Any:
    if manifest.artifact.format is ArtifactFormat.ENSEMBLE:
        return Ensemble.model_validate_json(path.read_bytes())
    if manifest.artifact.format is ArtifactFormat.SKOPS:
        return _open_skops(path, manifest)
    if manifest.artifact.format is ArtifactFormat.ONNX:
        return _open_onnx(path, manifest)
    if not allow_pickle:
        raise ModelLoadError(
            f"'{manifest.version_id}' is a joblib file, which runs code when it is opened; "
            "publish it as skops or with the workers' ROWMILL_TRUST_KEY, or set "
            "ROWMILL_ALLOW_PICKLE=true if you trust its origin."
        )
    return joblib.load(path)


def _open_skops(path: Path, manifest: Manifest) -> Any:
    trusted = list(manifest.artifact.trusted_types)
    unknown = sorted(set(skops.io.get_untrusted_types(file=path)) - set(trusted))
    if unknown:
        named = ", ".join(unknown[:MOST_NAMED]) + ", …" * (len(unknown) > MOST_NAMED)
        raise ModelLoadError(
            f"'{manifest.version_id}' holds types that nobody vouched for: {named}. "
            "Look at them, then publish it with trusted_types naming them."
        )
    return skops.io.load(path, trusted=trusted)


def _open_onnx(path: Path, manifest: Manifest) -> Any:
    try:
        return OnnxModel(path.read_bytes())
    except ModelLoadError as error:
        raise ModelLoadError(f"'{manifest.version_id}' can't be opened: {error}") from error
