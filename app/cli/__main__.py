"""`python -m app.cli`, the same as `mergefront`."""

from app.cli.main import main

main()
