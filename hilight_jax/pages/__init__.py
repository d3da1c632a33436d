"""What people look at: heat maps over frames, charts, and the pages that hold them. Arrays and tables in, files out."""
