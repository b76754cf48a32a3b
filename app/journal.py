"""The log of a process of the service: one JSON object a line, with the ids of the study and the trial that it is about."""

import json
import logging
import re
import sys
from datetime import UTC, datetime

_IDS = {"study": re.compile(r"\bstudy_[0-9a-z]{26}\b"), "trial": re.compile(r"\btrial_[0-9a-z]{26}\b")}


class JsonLines(logging.Formatter):
    """`at` (UTC), `level`, `logger`, `message`, and where there are any `study`, `trial`, `error` (the traceback)."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
            **_named(message),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def start_journal(level: str) -> None:
    """Has everything that this process logs written to standard error, from `level` (debug, info, ...) on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _named(message: str) -> dict[str, str]:
    """The first id of each kind that the message holds: whoever logs names what it is about."""
    found = {kind: pattern.search(message) for kind, pattern in _IDS.items()}
    return {kind: match[0] for kind, match in found.items() if match}
