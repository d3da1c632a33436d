"""Videos of clients: kept, fetched, and decoded in processes of their own."""
