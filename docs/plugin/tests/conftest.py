pytest_plugins = ["roialign_cy.testing.plugin"]
