"""An environment's `deployment_window`: when its robots may switch."""

from __future__ import annotations

from collections.abc import Mapping
from zoneinfo import ZoneInfo

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.fleet.window_text import FORMS, parse_dates, parse_opening
from lekiwi_deploy.server.builds.composed_forms import Several
from lekiwi_deploy.server.builds.form_tables import Key, Table
from lekiwi_deploy.server.builds.forms import Schema
from lekiwi_deploy.server.builds.strict_yaml import Value
from lekiwi_deploy.wire.windows import Dates, Opening, Times, Windows


class _OpeningText:
    """One opening, as `window_text` reads it."""

    def read(self, value: Value) -> tuple[str, Opening]:
        text = value.text()
        try:
            return text, parse_opening(text)
        except BadInput as error:
            raise value.wrong(error.message) from error

    def schema(self) -> Schema:
        return {"type": "string", "pattern": r"[0-9A-Za-z]"}

    def words(self) -> str:
        return f"window: {FORMS}"

    def shown(self, read: object) -> str:
        return str(read)


class _ExceptionText:
    """Days, or an opening during which it stays closed."""

    def read(self, value: Value) -> tuple[str, Dates | Times]:
        text = value.date or value.text()
        try:
            return text, parse_dates(text) or Times(parse_opening(text))
        except BadInput as error:
            raise value.wrong(error.message) from error

    def schema(self) -> Schema:
        return {"type": "string", "pattern": r"[0-9A-Za-z]"}

    def words(self) -> str:
        return "`2026-12-24`, `2026-12-24..2026-12-26`, or a window"

    def shown(self, read: object) -> str:
        return str(read)


class _Zone:
    """An IANA time zone."""

    def read(self, value: Value) -> str:
        name = value.text()
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise value.wrong(f"{name[:60]!r} is no time zone: write one such as Europe/Vienna, or UTC") from None
        return name

    def schema(self) -> Schema:
        return {"type": "string", "pattern": r"^[A-Za-z0-9_+/-]{1,60}$"}

    def words(self) -> str:
        return "name of a time zone"

    def shown(self, read: object) -> str:
        return str(read)


OPEN = Key("open", Several(_OpeningText(), "windows"), f"When it is open: {FORMS}.")
EXCEPT: Key[tuple[tuple[str, Dates | Times], ...]] = Key(
    "except", Several(_ExceptionText(), "days and windows"), "When it is closed all the same.", (), "no exception"
)
ZONE: Key[str | None] = Key("zone", _Zone(), "The clock that counts.", None, "each robot's own")


def _build(value: Value, given: Mapping[str, Value]) -> Windows:
    openings, exceptions = OPEN.read(given), EXCEPT.read(given)
    zone = ZONE.read(given)
    text = ", ".join(text for text, _ in openings)
    if exceptions:
        text += " except " + ", ".join(text for text, _ in exceptions)
    return Windows(
        openings=tuple(opening for _, opening in openings),
        exceptions=tuple(exception for _, exception in exceptions),
        zone=zone,
        text=text + (f" {zone}" if zone else ""),
    )


_WHOLE = Table("`{open: […], except: […], zone: …}`", (OPEN, EXCEPT, ZONE), _build, '{open: ["22:00-06:00"]}')


class Window:
    """`null`, one window, a list of them, or a mapping with exceptions and a zone."""

    def read(self, value: Value) -> Windows | None:
        if value.is_null:
            return None
        if value.is_mapping:
            return _WHOLE.read(value)
        found = OPEN.form.read(value) if value.is_list else (_OpeningText().read(value),)
        return Windows(openings=tuple(one for _, one in found), text=", ".join(text for text, _ in found))

    def schema(self) -> Schema:
        return {"anyOf": [{"type": "null"}, _OpeningText().schema(), OPEN.form.schema(), _WHOLE.schema()]}

    def words(self) -> str:
        return f"`null`, {_OpeningText().words()}; a list of these; or {_WHOLE.said}"

    def shown(self, read: object) -> str:
        return read.text if isinstance(read, Windows) else "null"


WINDOW_KEYS = (OPEN, EXCEPT, ZONE)
