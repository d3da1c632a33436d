"""Published checkpoints, in whatever form they come, as models of ours."""
