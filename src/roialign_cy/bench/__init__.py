"""Benchmarks of backends: workloads, one way to time them, and their comparison.

``roialign bench compare`` times backends side by side, and `roialign_cy.bench.suite` is a suite
for asv, which a plugin's own repository imports. Importing `roialign_cy` does not import this;
comparing needs the extra ``bench``.
"""
