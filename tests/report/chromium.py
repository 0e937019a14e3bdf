"""A headless Chromium for tests, spoken to over its debugging pipe: no driver has to be installed."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PATIENCE = 60.0  # seconds
# Becomes the program of the words from the third on, with the two descriptors as 3 and 4.
PLACED = """
import os, sys
for given, place in ((int(sys.argv[1]), 200), (int(sys.argv[2]), 201), (200, 3), (201, 4)):
    os.dup2(given, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-extensions", "--remote-debugging-pipe", "about:blank",
)  # fmt: skip


@contextmanager
def chromium(profile):
    """A browser with an empty profile in the folder `profile`, ended afterwards."""
    given, taken = os.pipe(), os.pipe()  # the browser reads from its descriptor 3 and writes to its 4
    command = [PROGRAM, *FLAGS[:-1], f"--user-data-dir={profile}", FLAGS[-1]]
    process = subprocess.Popen(
        [sys.executable, "-c", PLACED, str(given[0]), str(taken[1]), *command],
        pass_fds=(given[0], taken[1]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(given[0])
    os.close(taken[1])
    try:
        yield Browser(taken[0], given[1])
    finally:
        process.terminate()
        process.wait(PATIENCE)
        os.close(taken[0])
        os.close(given[1])


class Browser:
    """One tab. said: errors and words of the console; asked: the addresses it asked for."""

    def __init__(self, read, write):
        self.read, self.write = read, write
        self.number, self.buffer, self.session = 0, b"", None
        self.said, self.asked, self.loaded = [], [], False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.next()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.note(answer)

    def next(self):
        until = time.monotonic() + PATIENCE
        while b"\0" not in self.buffer:
            if not select.select([self.read], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError(f"Chromium said nothing for {PATIENCE} s.")
            part = os.read(self.read, 2**20)
            if not part:
                raise RuntimeError("Chromium has ended.")
            self.buffer += part
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def note(self, event):
        told = event.get("params", {})
        match event.get("method"):
            case "Page.loadEventFired":
                self.loaded = True
            case "Network.requestWillBeSent":
                self.asked.append(told["request"]["url"])
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded":
                self.said.append(told)

    def open(self, path, *, width=1280, height=900, dark=False):
        """Shows the file; a narrow window is a phone's."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.loaded = False
        self.call("Page.navigate", url=Path(path).resolve().as_uri())
        while not self.loaded:
            self.note(self.next())

    def value(self, expression):
        """Of a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def screenshot(self, path):
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        Path(path).write_bytes(base64.b64decode(found["data"]))

    def pdf(self, path):
        found = self.call("Page.printToPDF", printBackground=True)
        Path(path).write_bytes(base64.b64decode(found["data"]))
