"""Chromium driven over its DevTools protocol: pages opened, looked at and clicked from a test."""

import itertools
import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

# nothing but this machine has a name
ALONE = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
PATIENCE = 30.0
# React listens to the browser's own setter; Swagger UI waits for the field to be left
TYPE = """
function type(element, text) {
  Object.getOwnPropertyDescriptor(Object.getPrototypeOf(element), "value").set.call(element, text);
  for (const kind of ["input", "change", "focusout"]) element.dispatchEvent(new Event(kind, {bubbles: true}));
}
"""


class Browser:
    """One Chromium with a profile of its own, while it is entered."""

    def __init__(self, program: str, profile: Path) -> None:
        self._command = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", ALONE,
            "--disable-background-networking", "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        self._port_file = profile / "DevToolsActivePort"

    def __enter__(self) -> "Browser":
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while not (self._port_file.exists() and self._port_file.read_text().count("\n")):
            assert self._process.poll() is None and time.monotonic() < deadline, "chromium does not start"
            time.sleep(0.05)
        self._port = int(self._port_file.read_text().splitlines()[0])
        return self

    def __exit__(self, *exception) -> None:
        self._process.terminate()
        self._process.wait()

    @contextmanager
    def open(self, url: str) -> Iterator["Page"]:
        made = urllib.request.Request(f"http://127.0.0.1:{self._port}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(made) as answer:
            address = json.load(answer)["webSocketDebuggerUrl"]
        with connect(address, max_size=None, proxy=None) as socket:
            yield Page(socket, url)


class Page:
    """One page. `complaints`: what its console says is wrong; `asked`: every address that it asked for."""

    def __init__(self, socket: ClientConnection, url: str) -> None:
        self._socket = socket
        self._numbers = itertools.count()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def call(self, method: str, **parameters) -> dict:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (message := json.loads(self._socket.recv(PATIENCE))).get("id") != number:
            self._note(message)
        assert "error" not in message, message
        return message["result"]

    def run(self, script: str) -> object:
        """The value of an expression in the page, waited for where it is a promise."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, script: str) -> object:
        """The value of an expression once it is true of the page."""
        deadline = time.monotonic() + PATIENCE
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, f"{script} does not come true"
            time.sleep(0.1)
        return value

    def click(self, selector: str) -> None:
        self.wait(f"document.querySelector({json.dumps(selector)}) !== null")
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector: str, text: str) -> None:
        self.wait(f"document.querySelector({json.dumps(selector)}) !== null")
        self.run(f"(() => {{ {TYPE} type(document.querySelector({json.dumps(selector)}), {json.dumps(text)}); }})()")

    def _note(self, message: dict) -> None:
        told = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.asked.append(told["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(told["exceptionDetails"]["text"])
            case "Log.entryAdded" if told["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"{told['entry']['text']} ({told['entry'].get('url')})")
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "assert", "warning"):
                self.complaints.append(str(told["args"]))
