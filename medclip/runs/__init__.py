"""What the commands and a notebook call: prepare, train, evaluate, each with typed settings."""
