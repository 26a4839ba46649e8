"""Numbers, tables and figures about a model, and the page they are read on."""
