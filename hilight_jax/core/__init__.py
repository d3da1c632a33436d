"""Configs, errors, meshes, shapes and trees: what every room uses and none of which knows a model."""
