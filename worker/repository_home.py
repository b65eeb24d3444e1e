"""Where the model repository of this machine is; imports nothing that takes time to import."""

from pathlib import Path

from shared.errors import PublishError
from shared.settings import Settings


def own_repository() -> Path:
    """The model repository that the workers of these settings serve."""
    path = Settings().models_dir
    if not path.is_dir():
        raise PublishError(
            f"There is no model repository at {path.absolute()}; run this from the root of the "
            "project, set ROWMILL_MODELS_DIR or name it (--repository, repository=)."
        )
    return path
