"""`/ui/models/{reference}`: one model, a form that scores a row, and a place to drop a file."""

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode

from flask import Blueprint, Response, render_template, request

from api.catalogue import Catalogue
from api.pages import frame
from api.pages.forms import RowForm
from api.pages.models import DELIMITERS, ModelView
from api.pages.predictions import Prediction, field_errors
from api.pages.row_scoring import RowScorer
from api.query import query_parser
from api.routes.jobs import body_of, current_request, sender
from api.specification import SubmitOptions
from api.submission import Submission
from api.waiting import WaitingRoom
from shared.job_store.ends import Awaited
from shared.jobs import Job
from shared.manifest import Manifest

MAX_FORM_BYTES = 1024 * 1024
"""A row that people type is shorter."""

IN_PLACE_OF_FORM = {"HX-Retarget": "#row-scorer", "HX-Reswap": "innerMorph"}
"""What htmx does with a scored row: what has not changed stays as it is, and so does the focus."""

UPLOAD_OPTIONS = ("output", "join", "key", "delimiter")
"""What the form for a file asks for besides the file."""


def make_blueprint(
    catalogue: Catalogue, submission: Submission, scorer: RowScorer, waiting_room: WaitingRoom
) -> Blueprint:
    """Pages over these parts."""
    routes = Blueprint("model_pages", __name__)
    parse_options = query_parser(SubmitOptions)

    @routes.get("/ui/models/<reference>")
    def show(reference: str) -> str:
        manifest = catalogue.serving.meant(reference)
        is_filled = request.args.get("fill") == "example"
        make_form = RowForm.example_of if is_filled else RowForm.of
        return _page(reference, manifest, make_form(manifest.signature))

    @routes.post("/ui/models/<reference>")
    def score(reference: str) -> Response:
        request.max_content_length = MAX_FORM_BYTES
        manifest = catalogue.serving.meant(reference)
        form = RowForm.of(manifest.signature, request.form)
        outcomes = scorer.score(manifest, form.csv(), sender(current_request()))
        errors = field_errors(outcomes)
        prediction = Prediction.of(outcomes, form.values)
        text = _page(reference, manifest, form.with_errors(errors), prediction)
        status = HTTPStatus.UNPROCESSABLE_ENTITY if prediction.is_refused else HTTPStatus.OK
        return Response(text, status=status, headers=IN_PLACE_OF_FORM)

    def _page(
        reference: str, manifest: Manifest, form: RowForm, prediction: Prediction | None = None
    ) -> str:
        # Of this very version: what the reference means may have moved.
        document = catalogue.model(f"{manifest.name}:{manifest.version}")
        chosen = {name: request.args.get(name, "") for name in UPLOAD_OPTIONS}
        return render_template(
            "row_scorer.html" if frame.is_fragment() else "model.html",
            model=ModelView.of(reference, manifest, document),
            form=form,
            prediction=prediction,
            delimiters=DELIMITERS,
            chosen=chosen,
            upload_query=_query(chosen),
            max_bytes=submission.settings.max_body_bytes,
        )

    @routes.post("/ui/models/<reference>/jobs")
    def submit(reference: str) -> Response:
        sent = current_request()
        options = parse_options(sent.query_string).model_copy(update={"model": reference})
        with waiting_room.wait(sent) as wait:
            sent_by = sender(sent, wait)
            submitted = submission.submit(options, body_of(sent, submission), sent_by)
        return _sent_to(f"/ui/jobs/{_id(submitted.job)}")

    return routes


def _query(chosen: Mapping[str, str]) -> str:
    """Options as a query string, less those that nothing was chosen for."""
    query = urlencode({name: value for name, value in chosen.items() if value})
    return f"?{query}" if query else ""


def _sent_to(path: str) -> Response:
    """Lead the browser on; a script that sent the request is told where to lead it itself."""
    if frame.is_fragment():
        return Response(status=204, headers={"HX-Redirect": path})
    return Response(status=303, headers={"Location": path})


def _id(job: Job | Awaited) -> str:
    return job.id if isinstance(job, Job) else job.job_id
