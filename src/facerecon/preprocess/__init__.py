"""From photographs to training shards: detection, landmarks, parsing, the landmark fit, and the file that joins them."""
