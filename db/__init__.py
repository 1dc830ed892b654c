"""Everything that lasts: settings, schema, migrations, the ledger and the registry."""
