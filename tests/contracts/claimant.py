"""A process that claims every trial it is told of and prints those it got: `python claimant.py DATABASE_URL OWNER TRIAL...`."""

import sys

from app.store.sql import open_store

if __name__ == "__main__":
    url, owner, *trials = sys.argv[1:]
    store = open_store(url)
    sys.stdin.readline()
    got = [trial for trial in trials if store.claim(trial, owner, 60.0, 0.0) is not None]
    sys.stdout.write(" ".join(got))
    store.close()
