"""Writes the checksums of the verification set to Resources/verification/manifest.json; run it when a case changes.

    python Testing/freeze_verification.py [T1 T2 ...]

Without sets it freezes all of them, about ten minutes of processor time; of other sets it keeps the checksums. Raise
`VERSION` in `phantom/verification.py` with it.
"""

import sys

from StenosisDetectionLib.phantom.manifest import entry_of, manifest_path, read_manifest, write_manifest
from StenosisDetectionLib.phantom.verification import SETS, verification_cases

PROBE_EVERY = {"T1": 30, "T2": 6, "T3": 4, "T4": 12, "T5": 5, "T6": 3}
"""Of every so many cases the image is probed, too."""


def main() -> None:
    sets = sys.argv[1:] or SETS
    entries = read_manifest()
    for name in sets:
        for case in verification_cases(name):
            entries[case.name] = entry_of(case, case.number % PROBE_EVERY[name] == 0)
            print(case.name, flush=True)
    write_manifest(entries, manifest_path())


if __name__ == "__main__":
    main()
