"""Pages where something is missing: models, workers, the store."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sklearn.linear_model import LinearRegression

from api.app import create_app
from shared.settings import Settings
from worker.publishing import publish


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    """An API without a store, over a repository that is empty so far."""
    settings = Settings(redis_url="unix:///nowhere", models_dir=tmp_path)
    return create_app(settings).test_client()


def publish_line(repository: Path) -> None:
    publish(LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0]), name="line",
            sample=[[1.0], [2.0]], repository=repository)  # fmt: skip


def test_who_has_no_model_is_told_how_to_publish_one(client: FlaskClient) -> None:
    page = client.get("/")

    assert page.status_code == 200
    assert "rowmill models publish" in page.text
    assert "The job store does not answer" in page.text


@pytest.mark.parametrize("path", ["/", "/healthz", "/jobs/nothing/results"])
def test_no_browser_guesses_that_an_answer_is_a_page(client: FlaskClient, path: str) -> None:
    assert client.get(path).headers["X-Content-Type-Options"] == "nosniff"


def test_models_are_shown_without_a_store(client: FlaskClient, tmp_path: Path) -> None:
    publish_line(tmp_path)

    assert "/ui/models/line" in client.get("/").text
    assert "untried" in client.get("/ui/models/line").text


def test_a_broken_model_is_shown_as_broken_and_hides_no_other(
    client: FlaskClient, tmp_path: Path
) -> None:
    publish_line(tmp_path)
    (tmp_path / "wreck/1").mkdir(parents=True)
    (tmp_path / "wreck/1/manifest.json").write_text("{")

    page = client.get("/").text

    assert "/ui/models/line" in page
    assert "The manifest of &#39;wreck/1&#39; can&#39;t be read." in page


def test_a_row_that_can_not_be_scored_now_gets_a_problem_for_people(
    client: FlaskClient, tmp_path: Path
) -> None:
    publish_line(tmp_path)

    answer = client.post("/ui/models/line", data={"x0": "1"}, headers={"HX-Request": "true"})

    assert answer.status_code == 503
    assert "The job store does not answer" in answer.text
    assert "<html" not in answer.text


def test_the_api_goes_on_answering_with_documents(client: FlaskClient) -> None:
    assert client.get("/models/none").content_type == "application/problem+json"
    assert client.get("/ui/models/none").content_type.startswith("text/html")


def test_what_models_say_of_themselves_is_text_and_no_page(
    client: FlaskClient, tmp_path: Path
) -> None:
    model = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
    publish(model, name="line", sample=[[1.0], [2.0]], repository=tmp_path,
            description='<script>alert("x")</script>')  # fmt: skip

    assert "<script>alert" not in client.get("/").text + client.get("/ui/models/line").text
