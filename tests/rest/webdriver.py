"""Drives Debian's Chromium through ChromeDriver, by the W3C WebDriver protocol alone."""

import base64
import contextlib
import json
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

CHROMEDRIVER = shutil.which("chromedriver")
CHROMIUM = shutil.which("chromium")
KEYS = {"left": "\ue012", "end": "\ue010"}
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # The protocol's name of a reference.
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Browser:
    """A browser window.

    Args:
        url: ChromeDriver's.
        profile: an empty folder.
        dark: whether the browser asks for dark pages.
    """

    def __init__(self, url, profile, dark=False):
        arguments = [*_ARGUMENTS, f"--user-data-dir={profile}"]
        if dark:
            arguments.append("--force-dark-mode")
        capabilities = {
            "goog:chromeOptions": {"binary": CHROMIUM, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        self._base = url
        session = self._send("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self._base = f"{url}/session/{session['sessionId']}"

    def _send(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from error

    def open(self, url):
        self._send("POST", "/url", {"url": url})

    def find(self, selector):
        found = self._send("POST", "/element", {"using": "css selector", "value": selector})
        return f"/element/{found[_ELEMENT]}"

    def click(self, selector):
        self._send("POST", f"{self.find(selector)}/click", {})

    def type(self, selector, text):
        self._send("POST", f"{self.find(selector)}/value", {"text": text})

    def run(self, script):
        return self._send("POST", "/execute/sync", {"script": script, "args": []})

    def wait(self, script, seconds=30):
        """Waits until a script returns something true, and returns it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.run(script)
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"Not true within {seconds} s: {script}")

    def resize(self, width, height):
        """Makes the page itself so large, also narrower than a window can be."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        command = {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}
        self._send("POST", "/goog/cdp/execute", command)

    def screenshot(self, path):
        pathlib.Path(path).write_bytes(base64.b64decode(self._send("GET", "/screenshot")))

    def errors(self):
        """Errors on the console since the last call: of scripts, or what the policy blocked."""
        entries = self._send("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def close(self):
        self._send("DELETE", "")


@contextlib.contextmanager
def browser(profile, dark=False):
    """A `Browser`, closed at the end with its ChromeDriver."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    driver = subprocess.Popen(
        [CHROMEDRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port)
        window = Browser(f"http://127.0.0.1:{port}", profile, dark)
        try:
            yield window
        finally:
            window.close()
    finally:
        driver.terminate()
        driver.wait()


def _wait_for(port, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise AssertionError("ChromeDriver did not start.")
