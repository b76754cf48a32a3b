"""An application on a real port, in this process, for clients that want a real one."""

import socket
import threading
import time

import uvicorn


class Live:
    """Serves `app` while it is entered."""

    def __init__(self, app) -> None:
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1))
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})

    @property
    def port(self) -> int:
        return self._socket.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Live":
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)
        return self

    def __exit__(self, *exception) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
