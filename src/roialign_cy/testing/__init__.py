"""The conformance kit: whether a backend computes what this library says that it does.

``python -m roialign_cy.testing --roialign-backend NAME`` runs it wherever this package and pytest
are installed, on a backend of that name or on the object ``MODULE:OBJECT``, and ends with a table.
It is short for ``python -m pytest -p roialign_cy.testing.plugin --pyargs roialign_cy.testing``, and
takes pytest's other options too.

`goldens` has the numbers of other projects and of the document, `calls` makes calls of every kind,
and `checks` has what must hold for each of them, all without pytest.
"""
