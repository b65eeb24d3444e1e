"""From a version on disk to a predictor that is ready to score."""

from collections.abc import Callable

import sklearn

from shared.errors import ModelError, ModelLoadError
from shared.manifest import ArtifactFormat, Ensemble, Manifest, Member
from shared.model_repository import ModelRepository
from shared.settings import MismatchPolicy, Settings
from shared.signature import Signature
from worker.artifact_loader import heed_mismatches, load_artifact
from worker.ensemble_model import EnsembleModel, assembled
from worker.predictor import Predictor

OF_SCIKIT_LEARN = frozenset({ArtifactFormat.SKOPS, ArtifactFormat.JOBLIB})


class ModelLoader:
    """Opens model versions of one repository. Keeps nothing. A process has one policy for all."""

    def __init__(
        self,
        repository: ModelRepository,
        *,
        allow_pickle: bool,
        trust_key: str = "",
        on_mismatch: MismatchPolicy = MismatchPolicy.REFUSE,
    ) -> None:
        # Now, and not when the first model is opened: others may score by then.
        heed_mismatches(on_mismatch)
        self.repository = repository
        self._allow_pickle = allow_pickle
        self._trust_key = trust_key
        self._on_mismatch = on_mismatch

    @classmethod
    def by(cls, settings: Settings, repository: ModelRepository) -> "ModelLoader":
        """The one that an operator has chosen."""
        return cls(
            repository,
            allow_pickle=settings.allow_pickle,
            trust_key=settings.trust_key.get_secret_value(),
            on_mismatch=settings.on_version_mismatch,
        )

    def load(
        self, manifest: Manifest, *, opened: Callable[[Member], Predictor] | None = None
    ) -> Predictor:
        """The predictor of a version. Raises ModelError in all its kinds.

        `opened`: gives the members of an ensemble; by default they are opened here.
        """
        warning = _mismatch(manifest)
        if warning and self._on_mismatch is MismatchPolicy.REFUSE:
            raise ModelLoadError(f"{warning} Train and publish it under this version.")
        path = self.repository.artifact_path(manifest)
        estimator = load_artifact(
            path,
            manifest,
            allow_pickle=self._allow_pickle,
            trust_key=self._trust_key,
            on_mismatch=self._on_mismatch,
        )
        if isinstance(estimator, Ensemble):
            if estimator != manifest.ensemble:
                raise ModelLoadError(
                    f"The artifact of '{manifest.version_id}' names other members than its "
                    "manifest; publish it again."
                )
            estimator = self.assemble(estimator, manifest.signature, opened=opened)
            return Predictor(estimator, manifest, warning=estimator.warning)
        return Predictor(estimator, manifest, warning=warning)

    def assemble(
        self,
        ensemble: Ensemble,
        signature: Signature,
        *,
        opened: Callable[[Member], Predictor] | None = None,
    ) -> EnsembleModel:
        """What answers for all members, which are opened now.

        Raises ModelLoadError that names a member that is gone, was changed or can't be opened.
        """
        opened = opened or self._member

        def member(pinned: Member) -> Predictor:
            try:
                return opened(pinned)
            except ModelError as error:
                raise ModelLoadError(
                    f"Member '{pinned.version_id}' can't be opened. {error}"
                ) from error

        return assembled(
            ensemble,
            [member(pinned) for pinned in ensemble.members],
            signature=signature,
            final=member(ensemble.final) if ensemble.final else None,
        )

    def _member(self, member: Member) -> Predictor:
        manifest = self.repository.manifest(member.name, member.version)
        if manifest.artifact.sha256 != member.sha256:
            raise ModelLoadError(
                "It is not the one that the ensemble was made of; publish the ensemble again."
            )
        return self.load(manifest)


def _mismatch(manifest: Manifest) -> str:
    """What to say of a model that was trained under another version; empty for others."""
    trained_under = manifest.libraries.get("scikit-learn", sklearn.__version__)
    if manifest.artifact.format not in OF_SCIKIT_LEARN or trained_under == sklearn.__version__:
        return ""
    return (
        f"Model '{manifest.version_id}' was trained under scikit-learn {trained_under} and is "
        f"served by {sklearn.__version__}; its predictions may be others."
    )
