"""A reference means the wanted version as soon as it can be used, and until then what it meant."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from api import serving
from api.model_documents import Standing, model_document
from api.serving import RECENT_SECONDS, Serving, VersionState, state_of
from shared.aliases import Alias
from shared.errors import (
    AliasError,
    ManifestError,
    ModelNotFoundError,
    StoreUnavailableError,
)
from shared.job_store.model_reports import SHADOW_STRIKES, Comparison, ModelReports, VersionReport
from shared.jobs import new_job_id
from shared.manifest import Manifest
from shared.model_repository import ModelRepository
from shared.repository_editor import RepositoryEditor
from tests.factories import make_manifest
from tests.job_steps import JobSteps

JOB = "job_1"
ANY_JOBS = [f"job_{n}" for n in range(300)]


class World:
    """A repository, what workers tell of it, and a clock."""

    def __init__(self, root: Path, steps: JobSteps) -> None:
        self.repository = ModelRepository(root)
        self.reports = ModelReports(steps.redis)
        self.serving = Serving(self.repository, self.reports)
        self.now = 1000.0
        self._moments = 0

    def add(self, version: int, *, sha256: str = "0") -> Manifest:
        artifact = make_manifest().artifact.model_copy(update={"sha256": sha256 * 64})
        manifest = make_manifest(version=str(version), artifact=artifact)
        home = self.home / str(version)
        home.mkdir(parents=True, exist_ok=True)
        self._write(home / "manifest.json", manifest.model_dump_json())
        self._age(self.home)
        return manifest

    @property
    def home(self) -> Path:
        return self.repository.root / "echo"

    def point(self, alias: str, version: int, *, weight: float | None = None) -> None:
        self._point(alias, Alias(version=str(version), weight=weight))

    def compare(self, version: int) -> None:
        self._point("challenger", Alias(version=str(version), shadow=True))

    def _point(self, alias: str, target: Alias) -> None:
        RepositoryEditor(self.repository).set_alias("echo", alias, target)
        self._age(self.home / "aliases.json")

    def spoil(self, file: str) -> None:
        self._write(self.home / file, "{")

    def remove(self, version: int) -> None:
        """Without asking whether an alias points to it."""
        (self.home / str(version) / "manifest.json").unlink()
        (self.home / str(version)).rmdir()
        self._age(self.home)

    def tell(
        self, worker: str = "host/1", *, sha256: str = "0", serving: str = "", **states: str
    ) -> None:
        """What a worker makes of versions, as `v1="ready"`, and which one the name last meant."""
        reports = {
            f"echo/{name.removeprefix('v')}": report(state, sha256 * 64)
            for name, state in states.items()
        }
        self.reports.tell(worker, reports, serving={"echo": serving} if serving else {})

    def served(self, reference: str, version: str) -> None:
        """Let a reference have meant a version."""
        self.reports.tell("host/1", {}, serving={reference: version})

    def version(self, reference: str = "echo", job_id: str = JOB) -> str:
        """The version that a job gets, now that all is known that was told."""
        self.now += 2 * RECENT_SECONDS
        return self.serving.resolve(reference, job_id).manifest.version

    def shadow(self, reference: str = "echo") -> str | None:
        self.now += 2 * RECENT_SECONDS
        shadow = self.serving.resolve(reference, JOB).shadow
        return shadow.version if shadow else None

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        self._age(path)

    def _age(self, path: Path) -> None:
        """Let what changed be settled, each change at a time of its own."""
        self._moments += 1_000_000_000
        os.utime(path, ns=(self._moments, self._moments))


def report(state: str, sha256: str) -> VersionReport:
    code = "model_load_failed" if state == "failed" else ""
    is_tried = state in {"ready", "warned", "failed"}
    warning = "It is old." if state == "warned" else ""
    return VersionReport(
        sha256=sha256, is_tried=is_tried, code=code, detail=code and "No.", warning=warning
    )


@pytest.fixture
def world(tmp_path: Path, steps: JobSteps, monkeypatch: pytest.MonkeyPatch) -> World:
    """One model of three versions."""
    world = World(tmp_path, steps)
    for version in (1, 2, 3):
        world.add(version)
    monkeypatch.setattr(serving.time, "monotonic", lambda: world.now)
    return world


@pytest.fixture
def break_store(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[float]]:
    """Takes the store out of reach; what it returns grows whenever it is asked."""

    def break_it() -> list[float]:
        asked: list[float] = []

        def away(_: ModelReports) -> None:
            asked.append(world.now)
            raise StoreUnavailableError

        monkeypatch.setattr(ModelReports, "known", away)
        return asked

    return break_it


# --- a name alone


def test_a_name_means_its_newest_version_once_it_is_ready(world: World) -> None:
    world.tell(v1="ready", serving="1")
    assert world.version() == "1"

    world.tell(v1="ready", v3="trying", serving="1")
    assert world.version() == "1"

    world.tell(v1="ready", v3="ready", serving="3")
    assert world.version() == "3"


@pytest.mark.parametrize("third", ["failed", "trying", ""])
def test_a_name_means_the_newest_that_is_ready_where_nothing_served_before(
    world: World, third: str
) -> None:
    world.tell(v1="ready", v2="ready", **({"v3": third} if third else {}))

    assert world.version() == "2"


def test_a_name_means_its_champion_whatever_is_newer(world: World) -> None:
    world.point("champion", 1)
    world.tell(v1="ready", v2="ready", v3="ready")

    assert world.version() == "1"


def test_a_champion_that_fails_leaves_what_it_was_before(world: World) -> None:
    world.point("champion", 2)
    world.served("echo@champion", "1")
    world.tell(v1="ready", v2="failed", v3="ready")

    assert world.version() == "1"


@pytest.mark.parametrize(("first", "expected"), [("ready", "1"), ("failed", "2")])
def test_a_champion_that_nobody_can_use_leaves_the_next_older_version_and_never_a_newer_one(
    world: World, first: str, expected: str
) -> None:
    """As when it never served, or the store has lost what served before."""
    world.point("champion", 2)
    world.tell(v1=first, v2="failed", v3="ready")

    assert world.version() == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"v3": "trying"}, "2"),
        ({"v3": "failed"}, "2"),
        ({"v3": "failed", "v2": "failed"}, "1"),
        ({"v3": "failed", "v2": "failed", "v1": "failed"}, "3"),
        ({}, "2"),
    ],
)
def test_where_nothing_is_ready_what_served_before_goes_before_what_nobody_tried(
    world: World, told: dict[str, str], expected: str
) -> None:
    world.tell(**told, serving="2")

    assert world.version() == expected


def test_where_nobody_knows_anything_the_newest_is_meant(world: World) -> None:
    """As when the store has lost everything, or no worker ever lived."""
    assert world.version() == "3"


def test_what_served_before_is_known_though_no_worker_lives(world: World, steps: JobSteps) -> None:
    world.tell(v2="ready", serving="2")
    steps.sweep()
    assert world.reports.known().reports == {}

    assert world.version() == "2"


def test_what_served_before_and_is_gone_serves_no_more(world: World) -> None:
    world.tell(v2="ready", serving="2")
    world.remove(2)

    assert world.version() == "3"


def test_a_broken_manifest_leaves_the_next_older_version(world: World) -> None:
    world.spoil("3/manifest.json")
    world.tell(v2="ready", v3="ready")

    assert world.version() == "2"


def test_where_all_manifests_are_broken_it_is_said(world: World) -> None:
    for version in (1, 2, 3):
        world.spoil(f"{version}/manifest.json")

    with pytest.raises(ManifestError):
        world.version()


# --- several workers


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ((), VersionState.UNTRIED),
        (("trying",), VersionState.TRYING),
        (("trying", "ready"), VersionState.TRYING),
        (("ready", ""), VersionState.TRYING),
        (("ready", "ready"), VersionState.READY),
        (("ready", "failed"), VersionState.FAILED),
        (("failed", "trying", "ready"), VersionState.FAILED),
    ],
)
def test_a_version_is_ready_when_it_is_for_all_workers_and_failed_by_one(
    world: World, told: tuple[str, ...], state: VersionState
) -> None:
    for number, word in enumerate(told):
        states = {"v3": word} if word else {}
        world.tell(f"host/{number}", **states, v2="ready", serving="2")

    assert state_of(world.repository, "echo", "3", world.reports.known()) is state
    assert (world.version() == "3") is (state is VersionState.READY or not told)


def test_what_is_told_of_another_checksum_does_not_count(world: World) -> None:
    world.tell(v3="ready", sha256="1")
    world.tell("host/2", v2="ready", serving="2")

    assert world.version() == "2"
    assert state_of(world.repository, "echo", "3", world.reports.known()) is VersionState.UNTRIED


def test_what_workers_warn_of_is_passed_on_once(world: World) -> None:
    for worker in ("host/1", "host/2"):
        world.tell(worker, v3="warned")
    world.now += 1

    assert world.serving.resolve("echo", JOB).warnings == ("It is old.",)


# --- aliases and versions


@pytest.mark.parametrize("state", ["ready", "trying", "failed", ""])
def test_a_version_that_is_asked_for_by_its_number_is_given_whatever_its_state(
    world: World, state: str
) -> None:
    world.tell(v2="ready", serving="2", **({"v1": state} if state else {}))

    assert world.version("echo:1") == "1"


def test_an_alias_means_its_version_or_what_it_meant_before(world: World) -> None:
    world.point("stable", 2)
    world.served("echo@stable", "1")
    world.tell(v1="ready", v2="trying", v3="ready")
    assert world.version("echo@stable") == "1"

    world.tell(v1="ready", v2="ready", v3="ready")
    assert world.version("echo@stable") == "2"


def test_an_alias_of_a_version_that_is_not_there_means_what_it_meant_before(world: World) -> None:
    """As when the file of aliases is copied before the version."""
    world.point("champion", 3)
    world.point("stable", 3)
    for reference in ("echo@champion", "echo@stable"):
        world.served(reference, "1")
    world.tell(v1="ready", v2="ready")
    world.remove(3)

    assert world.version() == "1"
    assert world.version("echo@stable") == "1"


def test_an_alias_of_a_version_that_is_not_there_and_meant_nothing_is_refused(
    world: World,
) -> None:
    for alias in ("champion", "stable"):
        world.point(alias, 3)
    world.tell(v1="ready", v2="ready")
    world.remove(3)

    with pytest.raises(ModelNotFoundError, match="no version '3'"):
        world.version("echo@stable")
    assert world.version() == "2"


def test_an_alias_that_was_taken_away_means_nothing_any_more(world: World) -> None:
    world.served("echo@gone", "1")
    world.tell(v1="ready")

    with pytest.raises(ModelNotFoundError, match="no alias 'gone'"):
        world.version("echo@gone")


@pytest.mark.parametrize("reference", ["nope", "echo:9", "nope@champion", "nope:1", "a b"])
def test_what_is_not_there_is_refused(world: World, reference: str) -> None:
    with pytest.raises(ModelNotFoundError):
        world.version(reference)
    with pytest.raises(ModelNotFoundError):
        world.serving.meant(reference)


def test_aliases_that_can_not_be_read_are_refused_but_versions_are_not(world: World) -> None:
    world.tell(v3="ready")
    world.spoil("aliases.json")

    for reference in ("echo", "echo@champion"):
        with pytest.raises(AliasError, match="'echo'"):
            world.version(reference)
    assert world.version("echo:1") == "1"


# --- canaries


def test_a_canary_gets_its_share_by_the_jobs_ids(world: World) -> None:
    world.point("champion", 1)
    world.point("canary", 2, weight=0.3)
    world.tell(v1="ready", v2="ready")

    found = [world.version("echo", job_id) for job_id in ANY_JOBS]

    aliases = world.repository.aliases("echo")
    assert found == [aliases.root[aliases.choose(j) or ""].version for j in ANY_JOBS]
    assert 50 < found.count("2") < 130


@pytest.mark.parametrize("state", ["trying", "failed", ""])
def test_a_canary_that_is_not_ready_leaves_its_share_to_the_champion(
    world: World, state: str
) -> None:
    world.point("champion", 1)
    world.point("canary", 2, weight=0.9)
    world.served("echo@canary", "3")
    world.tell(v1="ready", v3="ready", **({"v2": state} if state else {}))

    assert {world.version("echo", job_id) for job_id in ANY_JOBS[:50]} == {"1"}


def test_a_canary_that_was_deleted_leaves_its_share_to_the_newest(world: World) -> None:
    world.point("canary", 2, weight=0.9)
    world.tell(v1="ready", v2="ready", v3="ready")
    world.remove(2)

    assert {world.version("echo", job_id) for job_id in ANY_JOBS[:50]} == {"3"}


def test_a_canary_changes_nothing_for_who_names_an_alias_or_a_version(world: World) -> None:
    world.point("champion", 1)
    world.point("canary", 2, weight=1.0)
    world.tell(v1="ready", v2="ready", v3="ready")

    assert world.version("echo") == "2"
    assert world.version("echo@champion") == "1"
    assert world.version("echo:3") == "3"
    assert world.serving.meant("echo").version == "1"


# --- shadows


@pytest.mark.parametrize(("state", "shadow"), [("ready", "2"), ("trying", None), ("failed", None)])
def test_a_shadow_is_compared_once_it_is_ready(
    world: World, state: str, shadow: str | None
) -> None:
    world.point("champion", 1)
    world.compare(2)
    world.tell(v1="ready", v2=state)

    assert world.shadow() == shadow
    assert world.shadow("echo@champion") == shadow
    assert world.shadow("echo:1") is None


def test_a_version_is_not_compared_with_itself(world: World) -> None:
    world.point("champion", 3)
    world.compare(3)
    world.tell(v3="ready")

    assert world.shadow() is None


def test_a_shadow_answers_nobody_where_there_is_no_champion_either(world: World) -> None:
    world.compare(3)
    world.tell(v2="ready", v3="ready")

    assert (world.version(), world.shadow()) == ("2", "3")


def test_an_alias_that_moves_within_a_moment_costs_no_job(world: World) -> None:
    world.point("canary", 2, weight=1)
    world.tell(v2="ready", v3="ready")
    assert world.version() == "2"

    RepositoryEditor(world.repository).set_alias("echo", "canary", None)

    # Within the moment in which it was known.
    assert world.serving.resolve("echo", "another job").manifest.version == "2"
    world.now += 2 * RECENT_SECONDS
    assert world.serving.resolve("echo", JOB).manifest.version == "3"


def test_a_champion_that_is_not_there_and_served_nobody_leaves_the_next_older_version(
    world: World,
) -> None:
    world.home.joinpath("aliases.json").write_text('{"champion": "9"}')
    world.tell(v3="ready")

    assert world.version() == "3"


def test_a_shadow_that_cost_processes_is_given_up(world: World, steps: JobSteps) -> None:
    world.point("champion", 1)
    world.compare(2)
    world.tell(v1="ready", v2="ready")

    for _ in range(SHADOW_STRIKES):
        assert world.shadow() == "2"
        world.reports.begin_shadowing("host/1", 99, "echo/2", "0" * 64)
        steps.beat()

    assert world.shadow() is None
    world.add(2, sha256="1")
    world.tell(v2="ready", sha256="1")
    assert world.shadow() == "2"


# --- for how long


def test_an_answer_holds_for_a_moment_and_is_renewed_after_it(world: World) -> None:
    world.tell(v2="ready", serving="2")
    assert world.version() == "2"
    world.tell(v3="ready", serving="3")

    world.now += RECENT_SECONDS
    assert world.serving.resolve("echo", JOB).manifest.version == "2"

    world.now += 0.01
    assert world.serving.resolve("echo", JOB).manifest.version == "3"


def test_the_store_is_asked_once_in_a_moment(
    world: World, break_store: Callable[[], list[float]]
) -> None:
    world.tell(v1="ready", v2="ready")
    world.version()
    asked = break_store()

    for reference in ("echo", "echo:1", "echo:2"):
        world.serving.resolve(reference, new_job_id())
        world.serving.meant(reference)

    assert asked == []


# --- a store out of reach


def test_no_job_is_made_while_the_store_is_out_of_reach(
    world: World, break_store: Callable[[], list[float]]
) -> None:
    break_store()

    with pytest.raises(StoreUnavailableError):
        world.version()


def test_models_are_shown_as_they_lie_on_disk_while_the_store_is_out_of_reach(
    world: World, break_store: Callable[[], list[float]]
) -> None:
    world.point("stable", 1)
    break_store()

    versions = [world.serving.meant(r).version for r in ("echo", "echo@stable", "echo:2")]

    assert versions == ["3", "1", "2"]


def test_a_store_out_of_reach_is_not_asked_anew_for_every_model_that_is_shown(
    world: World, break_store: Callable[[], list[float]]
) -> None:
    """Each time takes half a second, or five where the server is silent."""
    asked = break_store()

    for _ in range(3):
        world.serving.meant("echo")
    assert len(asked) == 1

    world.now += 2 * RECENT_SECONDS
    world.serving.meant("echo")
    assert len(asked) == 2


# --- how versions are shown


def test_each_version_is_shown_with_what_became_of_it(world: World) -> None:
    world.tell(v1="warned", v2="failed", v3="trying")
    world.reports.count_comparison(
        Comparison(
            version_id="echo/1",
            shadow_version_id="echo/2",
            output="predict",
            rows=3,
            agreed=1,
            difference=0.5,
            skipped=4,
        )
    )

    document = shown(world)

    versions = document["versions"]
    assert [v["state"] for v in versions] == ["ready", "failed", "trying"]
    assert [v["error"] for v in versions] == [
        None,
        {"code": "model_load_failed", "detail": "No."},
        None,
    ]
    assert [v["warnings"] for v in versions] == [["It is old."], [], []]
    assert document["comparisons"] == [
        {
            "version": "1",
            "shadow": "2",
            "output": "predict",
            "rows": 3,
            "rows_skipped": 4,
            "agreement": 0.333333,
            "mean_absolute_difference": 0.5,
        }
    ]


def shown(world: World) -> dict[str, list[dict[str, object]]]:
    manifest = world.repository.manifest("echo", "1")
    return model_document(manifest, world.repository, Standing.read(world.reports))


def test_a_shadow_that_was_given_up_says_so_and_keeps_its_state(
    world: World, steps: JobSteps
) -> None:
    world.tell(v2="ready")
    for _ in range(SHADOW_STRIKES):
        world.reports.begin_shadowing("host/1", 99, "echo/2", "0" * 64)
        steps.beat()

    version = shown(world)["versions"][1]

    assert version["state"] == "ready"
    assert version["error"] is not None
    assert dict(version["error"])["code"] == "shadow_given_up"  # type: ignore[call-overload]


def test_a_version_whose_manifest_can_not_be_read_is_shown_as_failed(world: World) -> None:
    world.spoil("2/manifest.json")

    version = shown(world)["versions"][1]

    assert (version["state"], version["created_at"]) == ("failed", None)
    assert version["error"] == {
        "code": "invalid_manifest",
        "detail": "The manifest can't be read.",
    }


def test_rows_are_shown_with_the_share_of_those_that_failed(world: World, steps: JobSteps) -> None:
    steps.submit()
    steps.run(failed=3)

    [first, second, _] = shown(world)["versions"]

    assert (first["jobs"], first["rows"], first["error_rate"]) == (1, 10, 0.3)
    assert (second["jobs"], second["rows"], second["error_rate"]) == (0, 0, None)
