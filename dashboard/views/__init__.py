"""The pages, a file each: what is asked, what is shown."""
