"""Run the self test of the module in a real Slicer, and leave pictures and a JUnit file. Needs nothing but Slicer:

    python Testing/run_in_slicer.py /path/to/Slicer --output slicer-test

This file has two sides. Started by any Python 3.9 or newer, it starts Slicer with itself as script; started by Slicer,
it runs the tests one after another and writes `junit.xml`, `log.txt`, Slicer's own log and `*.png` into the output
folder. On a computer without a screen (Linux) it takes xvfb-run; a GPU is not needed. The exit status is that of the
tests: 0 passed, 1 failed, 2 Slicer could not be started or has not finished in time. Tests that need packages which
this Slicer does not have are skipped, and the end says which and how to get them.
"""

import argparse
import importlib.metadata
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import traceback
import unittest
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

MODULE = "StenosisDetection"
HOME = Path(__file__).resolve().parents[1]
INSIDE = "--inside-slicer"


def main(arguments=None):
    """Start Slicer and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("slicer", type=Path, help="the Slicer executable")
    parser.add_argument("--output", type=Path, default=Path("slicer-test"), help="folder for junit.xml and pictures")
    parser.add_argument("--timeout", type=float, default=3600.0, metavar="SECONDS", help="give up after (3600)")
    parser.add_argument("--no-window", action="store_true", help="no main window: skip tests of the panel")
    options = parser.parse_args(arguments)
    output = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    (output / "junit.xml").unlink(missing_ok=True)
    try:
        screen = screen_command()
        command = screen + slicer_command(found(options.slicer), output, options.no_window)
        print(f"running the self test in Slicer, which takes minutes; what it says goes to {output / 'log.txt'}")
        with (output / "log.txt").open("wb") as log:
            status = run(command, log, options.timeout)
    except subprocess.TimeoutExpired:
        print(f"error: not finished after {options.timeout:.0f} s: look into {output / 'log.txt'}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: Slicer could not be run: {error}", file=sys.stderr)
        return 2
    if not (output / "junit.xml").is_file():
        print(f"error: the tests did not run: look into {output / 'log.txt'}", file=sys.stderr)
        return 2
    print(summary(output / "junit.xml"))
    return 0 if status == 0 else 1


def run(command, log, timeout_s):
    """Run a command and return its exit status; ended with all it started when it takes too long."""
    own_group = os.name == "posix"
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=own_group)
    try:
        return process.wait(timeout_s)
    except BaseException:
        # The executable is a launcher, which would leave Slicer itself behind.
        os.killpg(process.pid, signal.SIGKILL) if own_group else process.kill()
        process.wait()
        raise


def found(slicer):
    """Return the full path of the Slicer executable; OSError, which says what to do, when it is none."""
    path = shutil.which(str(slicer))
    if path is None:
        raise FileNotFoundError(
            f"{slicer} is no executable: give that of Slicer, such as Slicer-5.12.3-linux-amd64/Slicer, Slicer.exe or "
            "/Applications/Slicer.app/Contents/MacOS/Slicer"
        )
    return path


def screen_command():
    """Return what must stand before the command so that Slicer has a screen: nothing where there is one."""
    if sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return []
    if os.environ.get("QT_QPA_PLATFORM"):
        return []  # whoever set it knows
    if shutil.which("xvfb-run") is None:
        raise OSError("there is no screen, which Slicer needs even without its window: install xvfb, or set DISPLAY")
    return ["xvfb-run", "-a", "-s", "-screen 0 1920x1200x24"]


def summary(path):
    """Return how the tests of a JUnit file ended, in lines for people."""
    lines = []
    root = ElementTree.parse(path).getroot()
    for case in root.iter("testcase"):
        lines += [f"{child.tag}: {case.get('name')}: {child.get('message')}" for child in case]
    bad = sum(int(root.get(kind, 0)) for kind in ("failures", "errors"))
    tests, skipped = (int(root.get(kind, 0)) for kind in ("tests", "skipped"))
    lines.append(f"{tests - bad - skipped} passed, {bad} failed, {skipped} skipped: {path}")
    if any("not installed" in line for line in lines):
        lines.append(
            "To run the skipped tests too: open the module in this Slicer, press Install PyTorch (from the PyTorch "
            "extension) and Install packages under Model and device, and run this again."
        )
    return "\n".join(lines)


def slicer_command(slicer, output, no_window=False):
    """Return the command that runs this file inside Slicer, on the module of this checkout."""
    return [
        str(slicer),
        "--no-splash",
        "--testing",
        "--ignore-slicerrc",
        *(("--no-main-window",) if no_window else ()),
        # The module paths must come before the script.
        "--additional-module-paths",
        str(HOME / MODULE),
        "--python-script",
        str(Path(__file__).resolve()),
        INSIDE,
        str(output),
    ]


class Recorder(unittest.TestResult):
    """Keeps, of each test, its name, seconds and what went wrong."""

    def __init__(self):
        super().__init__()
        self.cases = []
        self._began = 0.0

    def startTest(self, test):
        super().startTest(test)
        print(f"{test.id()} ...", flush=True)
        self._began = time.monotonic()

    def stopTest(self, test):
        super().stopTest(test)
        name = test.id().rpartition(".")[2]
        if not self.cases or self.cases[-1][0] != name:
            self._keep(test, "", "")

    def addError(self, test, error):
        super().addError(test, error)
        self._keep(test, "error", "".join(traceback.format_exception(*error)))

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self._keep(test, "failure", "".join(traceback.format_exception(*error)))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._keep(test, "skipped", reason)

    def _keep(self, test, kind, text):
        seconds = time.monotonic() - self._began
        print(f"{test.id()}: {kind or 'ok'} in {seconds:.1f} s\n{text}", flush=True)
        self.cases.append((test.id().rpartition(".")[2], seconds, kind, text))


def junit(cases, properties=()):
    """Return the cases (name, seconds, kind, text) of a `Recorder` as the text of a JUnit file.

    `properties` are pairs of a name and a text, on where the tests ran.
    """
    count = {kind: sum(case[2] == kind for case in cases) for kind in ("failure", "error", "skipped")}
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuite name="{MODULE}" tests="{len(cases)}" failures="{count["failure"]}" errors="{count["error"]}" '
        f'skipped="{count["skipped"]}" time="{sum(case[1] for case in cases):.3f}">',
    ]
    if properties:
        lines.append("  <properties>")
        lines += [f"    <property name={quoteattr(name)} value={quoteattr(value)}/>" for name, value in properties]
        lines.append("  </properties>")
    for name, seconds, kind, text in cases:
        lines.append(f'  <testcase classname="{MODULE}" name={quoteattr(name)} time="{seconds:.3f}">')
        if kind:
            summary = quoteattr(text.strip().splitlines()[-1] if text.strip() else kind)
            lines.append(f"    <{kind} message={summary}>{escape(text)}</{kind}>")
        lines.append("  </testcase>")
    return "\n".join([*lines, "</testsuite>", ""])


def surroundings():
    """Return what the tests run on, as pairs of a name and a text; nothing of the user."""
    import slicer

    facts = [("Slicer", slicer.app.applicationVersion), ("system", platform.platform()), ("Python", sys.version)]
    for name in ("numpy", "torch", "monai", "safetensors", "jinja2"):
        try:
            facts.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            facts.append((name, "not installed"))
    return [(name, str(text)) for name, text in facts]


def run_inside(output):
    """Run the tests in this Slicer and leave it."""
    import slicer

    status = 2
    try:
        slicer.app.setProperty("StenosisDetectionPictures", str(output))
        window = slicer.util.mainWindow()
        if window is not None:
            window.resize(1900, 1150)
        recorder = Recorder()
        unittest.TestLoader().loadTestsFromName(MODULE).run(recorder)
        text = junit(recorder.cases, surroundings())
        partial = Path(output) / "junit.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(Path(output) / "junit.xml")
        status = 0 if recorder.wasSuccessful() and recorder.cases else 1
        shutil.copyfile(slicer.app.currentLogFile(), Path(output) / "slicer.log")
    except Exception:
        traceback.print_exc()
    slicer.util.exit(status)


if __name__ == "__main__":
    if INSIDE in sys.argv:
        run_inside(sys.argv[sys.argv.index(INSIDE) + 1])
    else:
        sys.exit(main())
