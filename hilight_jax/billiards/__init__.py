"""A simulated and rendered world of pool, in numpy: table, physics, camera, pictures, captions and questions."""
