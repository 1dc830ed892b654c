"""The ledger: jobs and chunks, and the rules that keep every row in exactly one place."""
