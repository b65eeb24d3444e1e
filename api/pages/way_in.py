"""The way to the page where browsers sign in, and back to where they wanted to go."""

from urllib.parse import urlencode, urlsplit

from flask import Request, Response

from api.pages.frame import is_fragment, is_page

SIGN_IN = "/ui/sign-in"


def to_sign_in(sent: Request) -> Response:
    """Leads a browser there; a script of a page is told to lead it itself."""
    path = f"{SIGN_IN}?{urlencode({'next': _wanted(sent)})}"
    if is_fragment():
        return Response(status=204, headers={"HX-Redirect": path})
    return Response(status=303, headers={"Location": path})


def _wanted(sent: Request) -> str:
    """The page that was asked for, or the one with the form that was sent."""
    if sent.method in ("GET", "HEAD"):
        return local_page(sent.full_path.removesuffix("?"))
    came_from = urlsplit(sent.referrer or "")
    return local_page(came_from.path if came_from.netloc == sent.host else "")


def local_page(text: str) -> str:
    """`text` if it leads to a page of this site, else the first page.

    What a link says must not lead a browser that has just signed in to another site. Browsers leave
    out tabs and line ends, and take `\\` for `/`.
    """
    is_plain = text.isascii() and text.isprintable() and not {*text} & {"\\", " "}
    if not is_plain or not text.startswith("/") or text.startswith("//"):
        return "/"
    path = text.partition("?")[0]
    return text if is_page(path) and path != SIGN_IN else "/"
