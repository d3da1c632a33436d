"""Configs, errors, meshes, shapes, trees and processes: the base of every room, independent of any model."""
