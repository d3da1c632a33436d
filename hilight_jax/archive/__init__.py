"""An archive of films: their pieces embedded, stored in a LanceDB database, and searched; no jax."""
