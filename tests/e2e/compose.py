"""The program that reads compose files, where one is installed here."""

import shutil
import subprocess
from functools import cache


@cache
def program() -> tuple[str, ...]:
    """Docker's plugin, else the program that came before it; empty where there is neither."""
    if shutil.which("docker") and not subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        return "docker", "compose"
    return ("docker-compose",) if shutil.which("docker-compose") else ()
