"""``python -m benchmarks.compare``: the same as ``roialign bench compare``."""

from roialign_cy.bench.compare.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
