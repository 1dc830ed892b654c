"""What the pages show, asked of the database; each answer is soon there, however large a job is."""
