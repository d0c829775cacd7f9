"""Run the self test of the module in a real Slicer, and leave pictures and a JUnit file. Needs nothing but Slicer:

    python Testing/run_in_slicer.py /path/to/Slicer --output slicer-test
    xvfb-run -a python Testing/run_in_slicer.py /path/to/Slicer      # without a screen

This file has two sides. Started by any Python 3.9 or newer, it starts Slicer with itself as script; started by Slicer,
it runs the tests one after another and writes `junit.xml`, `log.txt` and `*.png` into the output folder. The exit
status is that of the tests: 0 passed, 1 failed, 2 Slicer could not be started or has not finished in time.
"""

import argparse
import subprocess
import sys
import time
import traceback
import unittest
from pathlib import Path
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
    command = slicer_command(options.slicer, output, options.no_window)
    try:
        with (output / "log.txt").open("wb") as log:
            status = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, timeout=options.timeout).returncode
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"error: Slicer could not be run to its end ({error}): look into {output / 'log.txt'}", file=sys.stderr)
        return 2
    if not (output / "junit.xml").is_file():
        print(f"error: the tests did not run: look into {output / 'log.txt'}", file=sys.stderr)
        return 2
    print(output / "junit.xml")
    return 0 if status == 0 else 1


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
        self.cases.append((test.id().rpartition(".")[2], time.monotonic() - self._began, kind, text))


def junit(cases):
    """Return the cases (name, seconds, kind, text) of a `Recorder` as the text of a JUnit file."""
    count = {kind: sum(case[2] == kind for case in cases) for kind in ("failure", "error", "skipped")}
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuite name="{MODULE}" tests="{len(cases)}" failures="{count["failure"]}" errors="{count["error"]}" '
        f'skipped="{count["skipped"]}" time="{sum(case[1] for case in cases):.3f}">',
    ]
    for name, seconds, kind, text in cases:
        lines.append(f'  <testcase classname="{MODULE}" name={quoteattr(name)} time="{seconds:.3f}">')
        if kind:
            summary = quoteattr(text.strip().splitlines()[-1] if text.strip() else kind)
            lines.append(f"    <{kind} message={summary}>{escape(text)}</{kind}>")
        lines.append("  </testcase>")
    return "\n".join([*lines, "</testsuite>", ""])


def run_inside(output):
    """Run the tests in this Slicer and leave it."""
    import slicer

    status = 2
    try:
        slicer.app.setProperty("StenosisDetectionPictures", str(output))
        recorder = Recorder()
        unittest.TestLoader().loadTestsFromName(MODULE).run(recorder)
        text = junit(recorder.cases)
        partial = Path(output) / "junit.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(Path(output) / "junit.xml")
        status = 0 if recorder.wasSuccessful() and recorder.cases else 1
    except Exception:
        traceback.print_exc()
    slicer.util.exit(status)


if __name__ == "__main__":
    if INSIDE in sys.argv:
        run_inside(sys.argv[sys.argv.index(INSIDE) + 1])
    else:
        sys.exit(main())
