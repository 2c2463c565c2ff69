"""Another interpreter that holds what a benchmark compares with, asked line by line in JSON."""

import json
import pathlib
import subprocess
import tempfile

_FOLDER = pathlib.Path(__file__).parent


class PeerError(Exception):
    """What the peer said it could not do, or its last words when it ended."""


class Peer:
    """A script beside this one, run by another Python.

    It prints one JSON line when it is ready, its versions, and one for each line it is asked;
    "error" in a line is a `PeerError`.

    Args:
        python: the interpreter.
        script: file name, "peer_torch.py".
        *arguments: of the script.
    """

    def __init__(self, python, script, *arguments):
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (close() closes it)
        self._process = subprocess.Popen(
            [python, str(_FOLDER / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.versions = self._reply()

    def ask(self, **request):
        """The peer's answer to a request, a dict."""
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._reply()

    def close(self):
        """Ends the peer."""
        self._process.communicate()
        self._errors.close()

    def _reply(self):
        line = self._process.stdout.readline()
        if not line:  # it died: its last words say why
            self._process.wait()
            self._errors.seek(0)
            raise PeerError((self._errors.read().strip().splitlines() or ["no message"])[-1])
        reply = json.loads(line)
        if "error" in reply:
            raise PeerError(reply["error"])
        return reply
