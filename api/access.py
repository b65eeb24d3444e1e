"""Who may call which route, all of it in one table. A route that is not in it answers nobody."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shared.api_keys import Scope


@dataclass(frozen=True, kw_only=True)
class Access:
    """What it takes to call a route."""

    scopes: Collection[Scope] = ()
    """All of them; `admin` stands for any."""
    is_open: bool = False
    """Whether it takes no key."""
    action: str = ""
    """What the audit log calls it; empty if nothing is written."""


OPEN = Access(is_open=True)
READ = Access(scopes=(Scope.READ,))
ADMIN = Access(scopes=(Scope.ADMIN,))


def _writes(action: str, *further: Scope) -> Access:
    return Access(scopes=(Scope.SUBMIT, *further), action=action)


ROUTES: Mapping[str, Access] = {
    # --- programs
    "POST /jobs": _writes("create"),
    "GET /jobs": READ,
    "GET /jobs/<job_id>": READ,
    "DELETE /jobs/<job_id>": _writes("delete"),
    "GET /jobs/<job_id>/results": READ,
    "GET /jobs/<job_id>/errors": READ,
    "GET /jobs/<job_id>/features": READ,
    "GET /jobs/<job_id>/events": READ,
    "GET /jobs/<job_id>/deliveries": READ,
    "POST /jobs/<job_id>/cancel": _writes("cancel"),
    "POST /jobs/<job_id>/retry": _writes("retry"),
    "POST /predict": _writes("create", Scope.READ),
    "GET /models": READ,
    "GET /models/<reference>": READ,
    "GET /models/<reference>/template.csv": READ,
    "GET /status": ADMIN,
    "GET /metrics": ADMIN,
    # --- who looks whether it runs, and how it is called
    "GET /healthz": OPEN,
    "GET /readyz": OPEN,
    "GET /openapi.json": OPEN,
    "GET /docs": OPEN,
    "GET /static/<path:name>": OPEN,
    # --- browsers
    "GET /ui/sign-in": OPEN,
    "POST /ui/sign-in": Access(is_open=True, action="sign_in"),
    "POST /ui/sign-out": Access(is_open=True, action="sign_out"),
    "GET /": READ,
    "GET /ui/jobs": READ,
    "GET /ui/jobs/<job_id>": READ,
    "POST /ui/jobs/<job_id>/cancel": _writes("cancel"),
    "POST /ui/jobs/<job_id>/retry": _writes("retry"),
    "POST /ui/jobs/<job_id>/delete": _writes("delete"),
    "GET /ui/models/<reference>": READ,
    "POST /ui/models/<reference>": _writes("create", Scope.READ),
    "POST /ui/models/<reference>/jobs": _writes("create"),
}
"""By method and rule, as Flask writes them."""

OPTIONS = Access()
"""Which methods a route takes is told to whoever has a key, whatever it is good for."""


def access_to(method: str, rule: str) -> Access:
    """What it takes. Raises LookupError for a route that nobody has said it of."""
    if method == "OPTIONS":
        return OPTIONS
    return ROUTES[f"{'GET' if method == 'HEAD' else method} {rule}"]
