"""From a configuration to objects, and what the command line does with them."""
