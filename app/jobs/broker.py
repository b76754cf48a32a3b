"""Which brokers carry wake-ups, and what each is told."""

from app.domain.errors import Fault, RefusedError

# a measurement may take this long; then its process is killed, and the lease brings the trial back
HARD_SECONDS = 6 * 3600
# what a worker took and never acknowledged comes back after this: later than the hard limit, or the broker would deal it out twice
VISIBILITY_SECONDS = HARD_SECONDS + 3600
KINDS = ("redis", "rediss", "redis+socket")


def broker_options(url: str) -> dict[str, object]:
    """What the client of the broker at `url` is told: each kind refuses the words of another. Raises RefusedError for a kind not known."""
    kind, mark, _ = url.partition("://")
    if not mark or kind not in KINDS:
        raise RefusedError([Fault("broker", f"{kind or url!r} is no broker of wake-ups; use redis://HOST:6379/0 (Redis or Valkey)")])
    options: dict[str, object] = {"visibility_timeout": VISIBILITY_SECONDS, "socket_timeout": 30.0, "socket_connect_timeout": 5.0}
    return options if kind == "redis+socket" else options | {"socket_keepalive": True, "health_check_interval": 25}
