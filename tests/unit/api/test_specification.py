"""What a job will do follows from the options, the model version and the header alone."""

import pytest

from api.serving import Served
from api.specification import KEPT_HEADER_CHARS, InputColumns, SubmitOptions, make_spec
from shared.errors import HeaderError
from shared.jobs import JobSpec
from shared.manifest import Manifest
from shared.settings import Settings
from shared.signature import OutputColumn, OutputKind
from tests.factories import make_feature, make_manifest, make_signature


def spec_of(manifest: Manifest, *header: str, retention: int = 60, **options: object) -> JobSpec:
    settings = Settings(retention_seconds=retention)
    served, columns = Served(manifest=manifest), InputColumns(names=header)
    return make_spec(SubmitOptions(**options), served, columns, settings=settings)


@pytest.mark.parametrize("header", [("x", "y"), ("x", "y" * KEPT_HEADER_CHARS)])
def test_the_same_request_wants_the_same(header: tuple[str, ...]) -> None:
    first, second = (spec_of(make_manifest(), *header, key="x") for _ in range(2))

    assert first == second
    assert (first.header, first.carried) == (header, ("x",))


def test_what_differs_wants_something_else() -> None:
    manifest = make_manifest()
    specs = [
        spec_of(manifest, "x", "y"),
        spec_of(manifest, "y", "x"),
        spec_of(manifest, "x", "y", join="input"),
        spec_of(manifest, "x", "y", expires_in=7),
        spec_of(manifest, "x", "y", retention=61),
        spec_of(make_manifest(version="2"), "x", "y"),
    ]

    assert all(spec not in specs[:number] for number, spec in enumerate(specs))


def test_a_version_whose_manifest_was_replaced_is_looked_at_anew() -> None:
    renamed = {OutputKind.PREDICT: (OutputColumn(name="other", dtype="float64"),)}
    signatures = [make_signature(), make_signature(outputs=renamed)]

    specs = [spec_of(make_manifest(signature=signature), "x") for signature in signatures]

    assert specs[0] != specs[1]
    assert "other" in [column.name for column in specs[1].result_columns]


def test_a_column_without_a_name_can_be_carried() -> None:
    spec = spec_of(make_manifest(), "", "x", join="input")

    assert spec.carried == ("", "x")
    assert [c.name for c in spec.result_columns] == ["row", "_input", "x", "prediction", "error"]


def test_a_header_that_does_not_fit_is_refused_every_time() -> None:
    manifest = make_manifest(signature=make_signature(make_feature("x"), make_feature("z")))

    for _ in range(2):
        with pytest.raises(HeaderError, match="'z' is missing"):
            spec_of(manifest, "x", "y")


def test_a_validation_has_no_outputs_no_shadow_and_a_speed_of_its_own() -> None:
    manifest = make_manifest()
    shadow = make_manifest(version="2")
    options = SubmitOptions(validate_only=True, key="x")

    def spec(options: SubmitOptions) -> JobSpec:
        served = Served(manifest=manifest, shadow=shadow)
        return make_spec(options, served, InputColumns(names=("x",)), settings=Settings())

    checked, scored = spec(options), spec(SubmitOptions(key="x"))

    assert [column.name for column in checked.result_columns] == ["row", "x", "error"]
    assert (checked.shadow_version, scored.shadow_version) == (None, "2")
    assert len({checked.speed_id, scored.speed_id, checked.model_version_id}) == 2
