"""What went wrong between here and the server, as errors that a person can act on."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lekiwi_deploy import errors
from lekiwi_deploy.errors import LekiwiError, NotFound, Unavailable
from lekiwi_deploy.wire.api import ErrorBody

_KINDS: Mapping[str, type[LekiwiError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, LekiwiError) and kind is not LekiwiError
}


def from_body(body: ErrorBody) -> LekiwiError:
    """The error that the server told, as the same class here. A code that this release does not know is a failure."""
    known = body.code in errors.HTTP_STATUS
    kind = _KINDS.get(body.code, LekiwiError)
    code = None if body.code in _KINDS else body.code if known else "failed"
    details = body.details if known else {**body.details, "code": body.code}
    return kind(body.message, next=body.next, details=details, code=code)


def from_answer(address: str, status: int, data: bytes, headers: Mapping[str, str]) -> LekiwiError:
    """What an answer of 300 or more means. `data` is its body, which may be a proxy's and not ours."""
    try:
        return from_body(msgspec.json.decode(data, type=ErrorBody))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    if 300 <= status < 400:
        target = headers.get("location", "elsewhere")
        return errors.BadInput(f"{address} sends us on to {target}: give the address that it sends us to")
    if status in (502, 503, 504):
        return Unavailable(f"what stands before {address} answered {status}: the server behind it is not running")
    if status in (404, 405):
        return NotFound(
            f"{address} does not know this request: is it a LeKiwi server, and is it as new as this program?",
            next=("lekiwi doctor", "lekiwi version"),
        )
    return Unavailable(f"{address} answered {status} with something that is not from a LeKiwi server")


def from_exception(address: str, error: Exception) -> Unavailable:
    """What a failed connection means and what to check. `error` is one of urllib3's or the system's."""
    # Compared by name: the texts are the same in every version of urllib3, and nothing needs importing here.
    text = f"{type(error).__name__}: {error}"
    cause: BaseException | None = error
    while cause is not None:
        text += f" {type(cause).__name__}: {cause}"
        cause = getattr(cause, "reason", None) if isinstance(getattr(cause, "reason", None), Exception) else None
    for signs, sentence in _SIGNS:
        if any(sign in text for sign in signs):
            return Unavailable(sentence.format(address=address), next=("lekiwi doctor",))
    return Unavailable(f"the connection to {address} broke ({error}): try again", next=("lekiwi doctor",))


_SIGNS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("NameResolutionError", "gaierror"), "no machine goes by the name in {address}: check the spelling and the DNS"),
    (
        ("CERTIFICATE_VERIFY_FAILED",),
        "the certificate of {address} is not trusted here: if your own authority signed it, set SSL_CERT_FILE to its file",
    ),
    (("SSLError", "WRONG_VERSION_NUMBER"), "{address} does not speak TLS: is it http:// rather than https://?"),
    (
        ("ConnectionRefused", "Connection refused"),
        "nothing listens at {address}: is `lekiwi server` running there, and is the port right?",
    ),
    (("ConnectTimeout",), "{address} does not answer: check the address, the firewall and the VPN"),
    (("ReadTimeout", "timed out"), "{address} took too long to answer: try again"),
    (
        ("Network is unreachable", "No route to host"),
        "there is no network path to {address}: is this machine online?",
    ),
    (("ProxyError",), "the proxy on the way to {address} refuses: check HTTPS_PROXY and NO_PROXY"),
)
"""What names a fault in an exception's text, and what a person is told."""
