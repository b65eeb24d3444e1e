"""The service that tutorials build: Flask, Celery and Redis in sixty lines.

CSV text in the Celery message, the predictions as JSON in Celery's result backend, and a client
that asks until its task's state is SUCCESS. Reads TEXTBOOK_REDIS_URL and TEXTBOOK_MODELS_DIR.
"""

import functools
import io
import os
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from celery import Celery
from celery.result import AsyncResult
from flask import Flask, Response, jsonify, request

REDIS_URL = os.environ.get("TEXTBOOK_REDIS_URL", "")
MODELS_DIR = Path(os.environ.get("TEXTBOOK_MODELS_DIR", ""))

celery_app = Celery("textbook", broker=REDIS_URL, backend=REDIS_URL)
app = Flask(__name__)


@functools.cache
def load(name: str) -> Any:  # scikit-learn has no types
    return joblib.load(MODELS_DIR / f"{name}.joblib")


@celery_app.task
def score(csv_text: str, model: str, output: str) -> list[Any]:
    rows = pd.read_csv(io.StringIO(csv_text))
    predictions = getattr(load(model), output)(rows)
    return list(np.asarray(predictions).tolist())


@app.get("/")
def health() -> str:
    return "ok"


@app.post("/jobs")
def submit() -> tuple[Response, int]:
    text = request.get_data(as_text=True)
    task = score.delay(text, request.args["model"], request.args["output"])
    return jsonify({"id": task.id}), 202


@app.get("/jobs/<task_id>")
def status(task_id: str) -> Response:
    return jsonify({"state": AsyncResult(task_id, app=celery_app).state})


@app.get("/jobs/<task_id>/result")
def result(task_id: str) -> Response:
    return jsonify({"predictions": AsyncResult(task_id, app=celery_app).get()})
