"""Heat maps over frames, charts, and pages that hold them: arrays and tables in, files out."""
