"""Entry shim for a WSGI server: `gunicorn api.wsgi:app`."""

from api.app import create_app
from shared import logs, tracing
from shared.settings import Settings

settings = Settings()
logs.configure(settings.log_level)
tracing.begin("rowmill-api")
app = create_app(settings)
