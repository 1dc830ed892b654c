"""Reads text from files and URLs and enters it in the ledger, chunk by chunk."""
