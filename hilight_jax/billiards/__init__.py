"""A physically true, rendered world of pool: table, physics, camera, pictures, commentary and questions, with numpy."""
