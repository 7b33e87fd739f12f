"""Variables that the server gives to services: kept sealed on the disk, opened in memory."""
