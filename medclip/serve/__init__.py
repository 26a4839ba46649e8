"""The page in the browser and its API: films in, answers out, nothing kept. `medclip-serve` starts it."""
