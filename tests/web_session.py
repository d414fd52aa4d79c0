"""A page on a run, served by a process of its own, and what a client without a browser says to it."""

import contextlib
import re
import signal
import subprocess
from dataclasses import dataclass, field
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

from chains import start

__all__ = ["Answer", "Served", "entered", "serving"]


@dataclass
class Answer:
    """Status, headers in small letters, and text."""

    status: int
    headers: dict[str, str]
    text: str


@dataclass
class Served:
    """A page at work.

    Args:
        process: `catena serve`.
        url: As printed, with the token.
    """

    process: subprocess.Popen
    url: str
    cookie: str = ""
    lines: list[str] = field(default_factory=list)

    @property
    def port(self):
        """Where it listens."""
        return urlsplit(self.url).port

    @property
    def origin(self):
        """As a browser names it."""
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path, method="GET", body=None, *, cookie=True, host=None, **headers):
        """Make one request as it stands, with nothing added but the host and, unless it is False, the session."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            if host is not False:
                connection.putheader("Host", f"127.0.0.1:{self.port}" if host is None else host)
            if cookie and self.cookie:
                connection.putheader("Cookie", self.cookie if cookie is True else cookie)
            body = urlencode(body).encode() if isinstance(body, dict) else body
            if body is not None and "transfer-encoding" not in headers:
                headers["content-length"] = str(len(body))
                headers.setdefault("content-type", "application/x-www-form-urlencoded")
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(body)
            found = connection.getresponse()
            return Answer(
                found.status,
                {name.lower(): value for name, value in found.getheaders()},
                found.read().decode("utf-8", "replace"),
            )
        finally:
            connection.close()

    def enter(self):
        """Use the token, and keep the session."""
        split = urlsplit(self.url)
        answer = self.ask(f"{split.path}?{split.query}", cookie=False)
        assert answer.status == 200, answer.text
        self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return answer

    def token(self):
        """Return what a form of this session carries."""
        return re.search(r'name="form-token" content="([^"]+)"', self.ask("/").text)[1]

    def post(self, path, **form):
        """Send a form as the page's own script does."""
        form = {"token": self.token(), **form}
        return self.ask(path, "POST", form, origin=self.origin, **{"sec-fetch-site": "same-origin"})

    def with_session(self, work):
        """Return the work of a browser's tab in this session."""
        name, _, value = self.cookie.partition("=")

        def use(tab, seen):
            tab.context.add_cookies(
                [{"name": name, "value": value, "url": self.origin, "httpOnly": True, "sameSite": "Strict"}]
            )
            return work(tab, seen)

        return use

    def end(self, how=signal.SIGINT):
        """End the process as a person does, and return its exit code and what it said on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            out, err = self.process.communicate(timeout=30)
        finally:
            self.process.kill()
            self.process.wait()
        self.lines += out.splitlines()
        return self.process.returncode, err


@contextlib.contextmanager
def serving(run, *options):
    """Serve a page on a run; the process is gone at the end of the block."""
    process = start("serve", run, "--port", 0, *options)
    try:
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate(timeout=30)[1])
        served = Served(process, line.split()[-1], lines=[line.strip()])
        yield served
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def entered(run, *options):
    """Serve a page on a run, and use its token."""
    with serving(run, *options) as served:
        served.enter()
        yield served
