"""`python -m StenosisDetectionLib` is the command `stenosis-detection`."""

from .cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
