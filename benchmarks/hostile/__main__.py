"""Entry of ``python -m benchmarks.hostile``."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
