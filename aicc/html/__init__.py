"""The report of a compile as one HTML page: `collect` gathers it, `page` writes it."""
