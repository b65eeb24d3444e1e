"""Entry shim for a WSGI server: `gunicorn api.wsgi:app`."""

from api.app import create_app
from shared import logs
from shared.settings import Settings

settings = Settings()
logs.configure(settings.log_level)
app = create_app(settings)
