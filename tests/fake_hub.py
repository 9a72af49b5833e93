"""A stand-in for huggingface.co: what its client asks to make, fill and download a repository."""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
import urllib.parse


class FakeHub(http.server.ThreadingHTTPServer):
    """A server on this machine.

    Attributes:
        repositories: dictionary from "USER/NAME" to dictionaries from paths to the files' bytes.
        private: dictionary from "USER/NAME" to whether it was made private.
        tokens: those that may write.
        asked: methods and paths of all requests.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories, self.private, self.asked = {}, {}, []
        self.tokens = {"hf_writer"}
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


@contextlib.contextmanager
def running():
    """Around a test: a `FakeHub` that answers."""
    hub = FakeHub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


def commit_of(files):
    """The commit that a repository is at: 40 hexadecimal digits of what it holds."""
    digest = hashlib.sha1()
    for path in sorted(files):
        digest.update(path.encode() + files[path])
    return digest.hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):  # noqa: N802, http.server's
        body = self._body()
        if self._path() == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in self.server.tokens:
            return self._json({"error": "Invalid username or password."}, 401)
        if self._path() == "/api/repos/create":
            return self._create(json.loads(body))
        name, action = re.fullmatch(
            r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", self._path()
        ).groups()
        files = self.server.repositories[name]
        if action == "preupload":
            asked = [file["path"] for file in json.loads(body)["files"]]
            shared = {"uploadMode": "regular", "shouldIgnore": False}
            return self._json({"files": [{"path": path, **shared} for path in asked]})
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        commit = commit_of(files)
        url = f"{self.server.address}/{name}/commit/{commit}"
        return self._json({"success": True, "commitUrl": url, "commitOid": commit})

    def do_GET(self):  # noqa: N802, http.server's
        self._body()
        match = re.fullmatch(
            r"(?:/api/models)?/([^/]+/[^/]+)/(revision|tree|resolve)/[^/]+(?:/(.+))?", self._path()
        )
        name, kind, path = match.groups() if match else (None, None, None)
        files = self.server.repositories.get(name)
        if files is None:
            return self._json({}, 404, {"X-Error-Code": "RepoNotFound"})
        commit = commit_of(files)
        if kind == "revision":
            return self._json({"_id": "1", "id": name, "sha": commit, "siblings": []})
        if kind == "tree":
            return self._json([_entry(path, content) for path, content in files.items()])
        if path not in files:
            return self._json({}, 404, {"X-Error-Code": "EntryNotFound"})
        etag = hashlib.sha1(files[path]).hexdigest()
        return self._answer(files[path], 200, {"ETag": f'"{etag}"', "X-Repo-Commit": commit})

    do_HEAD = do_GET  # noqa: N815, http.server's

    def _create(self, asked):
        name = f"{asked['organization']}/{asked['name']}"
        self.server.repositories.setdefault(name, {})
        private = asked.get("private") or asked.get("visibility") == "private"
        self.server.private.setdefault(name, private)
        self._json({"url": f"{self.server.address}/{name}", "name": name})

    def _path(self):
        return urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)

    def _body(self):
        self.server.asked.append(f"{self.command} {self._path()}")
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _json(self, value, status=200, headers=None):
        self._answer(json.dumps(value).encode(), status, headers or {})

    def _answer(self, content, status, headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args):
        """Says nothing."""


def _entry(path, content):
    oid = hashlib.sha1(content).hexdigest()
    return {"type": "file", "path": path, "size": len(content), "oid": oid}
