"""Entry of ``python -m benchmarks.gate``."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
