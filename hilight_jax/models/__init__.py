"""Networks in flax.linen, the only folder that imports it: a tree of named arrays and the functions over it."""
