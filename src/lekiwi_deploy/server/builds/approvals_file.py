"""An environment's `approvals` and `preview`: who lets a deployment go live, and whether it lends its robots."""

from __future__ import annotations

from collections.abc import Mapping

from lekiwi_deploy.server.builds.form_tables import Key, Table
from lekiwi_deploy.server.builds.forms import Schema, Span, Truth, Whole
from lekiwi_deploy.server.builds.strict_yaml import Value
from lekiwi_deploy.wire.policy import Approvals, Preview

MOST_PEOPLE = 10
_COUNT = Whole(0, MOST_PEOPLE)

COUNT = Key("count", _COUNT, "How many different people must say yes; 0: nobody.", 1)
NOT_AUTHOR = Key("not_author", Truth(), "`true`: whoever wrote the commit, or asked for the deployment, does not count.", False)  # fmt: skip
EXPIRES = Key("expires", Span(60, 90 * 86_400), "Nobody said yes for so long: it is rejected.", 7 * 86_400.0)


def _build(value: Value, given: Mapping[str, Value]) -> Approvals:
    return Approvals(count=COUNT.read(given), not_author=NOT_AUTHOR.read(given), expires_s=EXPIRES.read(given))


_WHOLE = Table("`{count: …, not_author: …, expires: …}`", (COUNT, NOT_AUTHOR, EXPIRES), _build, "{count: 2}")
APPROVAL_KEYS = _WHOLE.keys


class _Approvals:
    """A number of people, or a mapping that says more."""

    def read(self, value: Value) -> Approvals | None:
        if value.is_number:
            return Approvals(count=_COUNT.read(value))
        return _WHOLE.read(value)

    def schema(self) -> Schema:
        return {"anyOf": [_COUNT.schema(), _WHOLE.schema()]}

    def words(self) -> str:
        return f"number of people, 0 to {MOST_PEOPLE}, or {_WHOLE.said}"

    def shown(self, read: object) -> str:
        return str(read.count) if isinstance(read, Approvals) else "null"


APPROVALS: Key[Approvals | None] = Key(
    "approvals",
    _Approvals(),
    "Who must say yes (`lekiwi approve`) before a deployment goes live, be it by push, promote, alias or redeploy; going back never waits.",
    None,
    "1 for a push where `auto_deploy` is `false`, else 0",
)

LENT = Key("robots", Whole(1, 100), "How many robots a preview gets.", 1)
LEASE = Key("lease", Span(60, 30 * 86_400), "How long it has them, counted from the last push.", 4 * 3600.0)


def _preview(value: Value, given: Mapping[str, Value]) -> Preview:
    return Preview(robots=LENT.read(given), lease_s=LEASE.read(given))


_PREVIEW = Table("`{robots: …, lease: …}`", (LENT, LEASE), _preview, "{robots: 1, lease: 4h}")
PREVIEW_KEYS = _PREVIEW.keys
PREVIEW: Key[Preview | None] = Key(
    "preview",
    _PREVIEW,
    "It lends its robots to previews of branches; they run again what they ran before when a lease is over.",
    None,
    "it lends none",
)
