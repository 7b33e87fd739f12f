"""What the agent's two halves say to each other over a Unix socket: one frame each, length-limited MessagePack.

The root half (`lekiwi-agent run --halves`) runs the robot and does no network. The net half (`lekiwi-agent net`) has the network and the
robot's key, and no rights. The root half listens, decides and asks; the net half does what it is asked, one thing per message, and keeps
nothing. The root half takes nothing from it on trust.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

MAX_FRAME = 1_200_000
"""Bytes of a frame without its length: a frame of the link (1,000,000) or a piece of a download, and what surrounds it. A longer one ends
the connection."""
PIECE = 128 << 10
"""Bytes of a download in one frame, at most."""
WINDOW = 1 << 20
"""Bytes of a download that may be on their way before the root half says `More`."""
FETCHES = 4
"""Downloads at once."""
SAYING = 8
"""Texts that may be on their way to the server before `Sent` confirms the first."""

Text = Annotated[str, msgspec.Meta(max_length=2000)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Open(msgspec.Struct, frozen=True, tag="open", tag_field="t"):
    """Open the link to the robot's server. `link` numbers it: what is said of another one is void. `ping_s`: seconds between pings.
    Answered by `Up` or `Down`."""

    link: Count
    ping_s: float


class Shut(msgspec.Struct, frozen=True, tag="shut", tag_field="t"):
    """Close that link, if it is still open. Not answered."""

    link: Count


class Say(msgspec.Struct, frozen=True, tag="say", tag_field="t"):
    """Send this text over the link. Answered by `Sent`."""

    link: Count
    text: str


class Sign(msgspec.Struct, frozen=True, tag="sign", tag_field="t"):
    """Prove with the robot's key who this is, to its own server only (wire/assertion.py). Answered by `Signed`."""

    link: Count
    server: str
    nonce: str
    boot: str


class Fetch(msgspec.Struct, frozen=True, kw_only=True, tag="fetch", tag_field="t"):
    """Get `path` of the robot's server, from byte `start` on; with `post`, as a POST of that JSON. Nothing beyond `limit` bytes.
    Answered by `Answered`, `Piece`s and `Done`; or by `Done` alone."""

    fetch: Count
    path: str
    ticket: str | None
    start: Count
    limit: Count
    post: bytes | None = None


class More(msgspec.Struct, frozen=True, tag="more", tag_field="t"):
    """So many more bytes of that download may come."""

    fetch: Count
    bytes: Count


class Cancel(msgspec.Struct, frozen=True, tag="cancel", tag_field="t"):
    """That download is not wanted any more. Nothing of it need come."""

    fetch: Count


class Ping(msgspec.Struct, frozen=True, tag="ping", tag_field="t"):
    """Still there? Answered by `Pong`."""

    number: Count


ToNet = Open | Shut | Say | Sign | Fetch | More | Cancel | Ping


class Here(msgspec.Struct, frozen=True, tag="here", tag_field="t"):
    """The net half's first frame. `agent`: its release."""

    agent: Annotated[str, msgspec.Meta(max_length=100)]


class Up(msgspec.Struct, frozen=True, tag="up", tag_field="t"):
    """The link is open."""

    link: Count


class Down(msgspec.Struct, frozen=True, tag="down", tag_field="t"):
    """The link is not, or no longer, open: `why`, in one line."""

    link: Count
    why: Text


class Heard(msgspec.Struct, frozen=True, tag="heard", tag_field="t"):
    """What the server sent."""

    link: Count
    text: str


class Sent(msgspec.Struct, frozen=True, tag="sent", tag_field="t"):
    """The oldest text that was to be said is on its way."""

    link: Count


class Signed(msgspec.Struct, frozen=True, tag="signed", tag_field="t"):
    """The token, or why there is none."""

    link: Count
    token: Annotated[str, msgspec.Meta(max_length=4096)] | None
    trouble: Text = ""


class Answered(msgspec.Struct, frozen=True, tag="answered", tag_field="t"):
    """The server's answer begins. `length`: bytes that follow, if it said."""

    fetch: Count
    status: Annotated[int, msgspec.Meta(ge=100, le=599)]
    length: Count | None


class Piece(msgspec.Struct, frozen=True, tag="piece", tag_field="t"):
    """The next bytes of its body."""

    fetch: Count
    data: Annotated[bytes, msgspec.Meta(max_length=PIECE)]


class Done(msgspec.Struct, frozen=True, tag="done", tag_field="t"):
    """All of it came; or it broke off: `trouble`, in one line."""

    fetch: Count
    trouble: Text | None = None


class Pong(msgspec.Struct, frozen=True, tag="pong", tag_field="t"):
    """Still here."""

    number: Count


FromNet = Here | Up | Down | Heard | Sent | Signed | Answered | Piece | Done | Pong
