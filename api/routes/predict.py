"""`POST /predict`: a job whose predictions are the answer, if it ends soon enough."""

from flask import Blueprint, Response

from api.query import query_parser
from api.result_formats import ResultFormat, liked_best
from api.routes.jobs import accepted, body_of, current_request, sender
from api.routes.results import results_of
from api.specification import PredictOptions
from api.submission import Submission
from api.waiting import WaitingRoom
from shared.errors import JobStoppedError, JobUnfinishedError
from shared.job_store.ends import Seen
from shared.job_store.store import JobStore

WAIT_SECONDS = 30
"""How long a caller waits who does not say so: less than proxies and clients have patience."""


def make_blueprint(submission: Submission, store: JobStore, waiting_room: WaitingRoom) -> Blueprint:
    """Routes over these parts."""
    routes = Blueprint("predict", __name__)
    parse_options = query_parser(PredictOptions)

    @routes.post("/predict")
    def predict() -> Response:
        sent = current_request()
        options = parse_options(sent.query_string)
        wanted = options.format or liked_best(sent.headers.get("Accept"))
        with waiting_room.wait(sent, default=f"wait={WAIT_SECONDS}") as wait:
            sent_by = sender(sent, wait)
            submitted = submission.submit(options, body_of(sent, submission), sent_by)
            is_replayed = submitted.is_replayed

            def answer(seen: Seen) -> Response:
                if not seen.job.has_ended:
                    return accepted(seen.job, submission.repository, wait, is_replayed=is_replayed)
                response = _predictions(seen, wanted)
                if is_replayed:
                    response.headers["Idempotent-Replayed"] = "true"
                return response

            return wait.answered(submitted.job, answer)

    def _predictions(seen: Seen, wanted: ResultFormat) -> Response:
        """Raises JobStoppedError, JobUnfinishedError for a job with rows that have no outcome."""
        job = seen.job
        if job.pending or not job.total:
            reason = f" ({job.error_code}: {job.error_detail})" if job.error_code else ""
            error = JobStoppedError if job.was_stopped else JobUnfinishedError
            raise error(job.id, job.status, reason=reason)
        texts = iter([seen.results]) if seen.results else store.results(job)
        headers = {"Content-Location": f"/jobs/{job.id}/results"}
        return results_of(job, texts, wanted, headers=headers)

    return routes
