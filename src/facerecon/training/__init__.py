"""One trainer for systems and auxiliary networks."""
