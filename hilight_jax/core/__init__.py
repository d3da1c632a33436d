"""Configs, errors, meshes, shapes, trees and processes: the base of every room, independent of any model."""

__version__ = "0.2.0.dev0"  # Of the package; read by setup.py.
